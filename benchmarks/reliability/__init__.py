"""Faults and loads at their full size: each row of the table in docs/reliability.md."""
