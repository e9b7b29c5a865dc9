"""Own who is told how many tokens an engine has read and written: the project of the call that runs, if it has one."""

from collections.abc import Callable
from contextvars import ContextVar

SPENDING: ContextVar[Callable[[int], None] | None] = ContextVar("rlt_spending", default=None)
"""Set for the time of a call that counts against a project's tokens."""


def spend(tokens: int) -> None:
    """Tell of tokens; nothing where nobody counts them."""
    told = SPENDING.get()
    if told is not None:
        told(tokens)
