"""One module a kind of thing that the server has; `Client` holds one of each."""
