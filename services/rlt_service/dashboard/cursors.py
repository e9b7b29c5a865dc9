"""Own how a place in a job's history is found by few looks at it: its end, and the first event at a step."""

from collections.abc import Awaitable, Callable
from typing import Final

from rlt_core.schemas.jobs import JobEvent

Peek = Callable[[int], Awaitable[JobEvent | None]]
"""Gives the first event after a sequence number; None where there is none."""
NEAR: Final = 64
"""Events between which nobody halves any further."""


async def last_seq(peek: Peek) -> int:
    """Give the newest sequence number, 0 of an empty history, by doubling and halving."""
    low, step = 0, 1
    while await peek(low + step - 1) is not None:
        low, step = low + step, step * 2
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        if await peek(middle - 1) is not None:
            low = middle
        else:
            high = middle
    return low


async def before_step(peek: Peek, *, step: int, last: int) -> int:
    """Give a sequence number at most a few dozen events before the first that tells of `step` or a later one.

    Steps that were done again after a crash come later in the history; the earliest telling is found.
    """
    low, high = 0, last
    while high - low > NEAR:
        middle = (low + high) // 2
        told = await _step_after(peek, middle, until=high)
        if told is not None and told < step:
            low = middle
        else:
            high = middle
    return low


async def _step_after(peek: Peek, seq: int, *, until: int) -> int | None:
    """Give the step of the first event after `seq` that names one; None up to `until`, or after a few."""
    for at in range(seq, min(seq + NEAR, until)):
        event = await peek(at)
        if event is None:
            return None
        step = event.data.get("step")
        if isinstance(step, int):
            return step
    return None
