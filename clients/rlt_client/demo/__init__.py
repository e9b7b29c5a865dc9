"""`make demo`: the whole loop on one machine, as any client could run it."""
