"""Own who looks at the store: what a key made is found by its project, or by that key where it has none.

Those that see all find it too, and nobody else does.

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
    project: str | None = None
    """The project of the key, or of the job that a trainer works on."""

    @property
    def owner(self) -> str | None:
        """What owns that which is made now: the project, or the key where it has none."""
        return self.key if self.project is None else self.project


VIEWER: ContextVar[Viewer | None] = ContextVar("rlt_viewer", default=None)
"""Set for the time of a call with a key."""


def owner() -> str | None:
    """Give the project, or the key without one, that what is made now belongs to."""
    viewer = VIEWER.get()
    return None if viewer is None else viewer.owner


def caller() -> str | None:
    """Give the key whose call runs, or the one that its trainer works for."""
    viewer = VIEWER.get()
    return None if viewer is None else viewer.key


def project() -> str | None:
    """Give the project that this work is done for."""
    viewer = VIEWER.get()
    return None if viewer is None else viewer.project


def visible(column: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    """Give the condition that a row is one that the viewer may know of; `column` holds its owner."""
    viewer = VIEWER.get()
    return true() if viewer is None or viewer.sees_all else column == viewer.owner
