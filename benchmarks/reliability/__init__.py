"""Faults on purpose: every promise of docs/reliability.md, tried many times on real processes, with a record."""
