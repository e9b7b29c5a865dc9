"""Own who looks at the store: what a key made is found by that key and by those that see all, by nobody else.

Outside of calls (workers, the reconciler, a server without keys) nobody is set, and everything is found.
"""

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, true
from sqlalchemy.orm import InstrumentedAttribute


@dataclass(frozen=True, slots=True, kw_only=True)
class Viewer:
    """The key whose call runs, or the one that its trainer works for."""

    key: str | None
    """None for work on what was made before there were keys."""
    sees_all: bool


VIEWER: ContextVar[Viewer | None] = ContextVar("rlt_viewer", default=None)
"""Set for the time of a call with a key."""


def owner() -> str | None:
    """Give the key that what is made now belongs to."""
    viewer = VIEWER.get()
    return None if viewer is None else viewer.key


def visible(column: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    """Give the condition that a row is one that the viewer may know of; `column` holds its owner."""
    viewer = VIEWER.get()
    return true() if viewer is None or viewer.sees_all else column == viewer.key
