"""Own the waiting before an engine: work begins when its flow's turn has come (fair_queue.py says when that is)."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar

from rlt_service.engine.fair_queue import FairQueue, Flow, Turn

MOST_RESERVED = 8
"""Of a large capacity a quarter would stand empty for callers who never come."""

_FLOW: ContextVar[Flow | None] = ContextVar("flow", default=None)


@contextmanager
def one_flow() -> Generator[None]:
    """Make everything that is asked of an engine in the block, and in tasks begun there, one flow."""
    token = _FLOW.set(Flow())
    try:
        yield
    finally:
        _FLOW.reset(token)


def current_flow() -> Flow:
    """Give the flow of the present call; what belongs to no call is a flow of its own."""
    return _FLOW.get() or Flow()


class Gate:
    """Room for so much work at a time, shared fairly between flows."""

    def __init__(self, *, capacity: int, reserve: int) -> None:
        self._queue = FairQueue(capacity=capacity, reserve=reserve)
        self._waiting: dict[Turn, asyncio.Future[None]] = {}

    @classmethod
    def of_sequences(cls, capacity: int) -> "Gate":
        """Make a gate that counts sequences; a quarter of a small capacity is kept for those who hold little."""
        return cls(capacity=capacity, reserve=min(MOST_RESERVED, capacity // 4))

    @classmethod
    def of_tokens(cls, capacity: int) -> "Gate":
        """Make a gate that counts tokens, a quarter of them kept for those who hold little."""
        return cls(capacity=capacity, reserve=capacity // 4)

    @asynccontextmanager
    async def turn(self, flow: Flow, *, cost: int = 1) -> AsyncGenerator[None]:
        """Wait for a turn of `flow`, and hold its room until the block ends."""
        turn = self._queue.ask(flow, cost=cost)
        begun = self._waiting[turn] = asyncio.get_running_loop().create_future()
        self._let_in()
        try:
            await begun
            yield
        finally:
            self._waiting.pop(turn, None)
            self._queue.leave(turn)
            self._let_in()

    def _let_in(self) -> None:
        for turn in self._queue.admit():
            begun = self._waiting.pop(turn)
            if not begun.done():  # a waiter that was cancelled leaves by itself
                begun.set_result(None)
