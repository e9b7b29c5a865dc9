"""`rlt backup` and `rlt restore`: a consistent copy of a state folder while it is in use, and a new one made of it."""
