"""What the project is made of and whether it may be: `make audit`."""
