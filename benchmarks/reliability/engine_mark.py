"""Own the mark of the process that a stand-in of an engine dies with. Imports nothing."""

MARK = "stand-in-of-an-engine"
"""Stands on the command line of the engine's process, so that whoever harms it finds it."""
