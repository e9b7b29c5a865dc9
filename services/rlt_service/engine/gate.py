"""Own the waiting before an engine: work begins when its flow's turn has come (fair_queue.py says when that is)."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from weakref import WeakValueDictionary

from rlt_service.engine.fair_queue import FairQueue, Flow, Turn
from rlt_service.engine.protocol import QueueState
from rlt_service.engine.waits import Waits

MOST_RESERVED = 8
"""Sequences kept for flows that hold little: of many, a quarter would be kept for callers who never come."""
REMEMBERED_S = 10.0
"""A bulk caller keeps to its share so long after the last call beside it."""

_FLOW: ContextVar[Flow | None] = ContextVar("flow", default=None)


class Flows:
    """Flows by name, for as long as one of their calls runs: calls of one name take the turns of one caller."""

    def __init__(self) -> None:
        self._by_name: WeakValueDictionary[tuple[str | None, str], Flow] = WeakValueDictionary()
        self._lock = threading.Lock()

    def named(self, name: str, *, owner: str | None) -> Flow:
        """Give the flow of a name; those of other owners are others."""
        with self._lock:
            return self._by_name.setdefault((owner, name), Flow())


@contextmanager
def one_flow(flow: Flow | None = None) -> Generator[None]:
    """Make everything that is asked of an engine in the block, and in tasks begun there, one flow; null makes one."""
    token = _FLOW.set(flow or Flow())
    try:
        yield
    finally:
        _FLOW.reset(token)


def current_flow() -> Flow:
    """Give the flow of the present call; what belongs to no call is a flow of its own."""
    return _FLOW.get() or Flow()


class Gate:
    """Room for so much work at a time, shared fairly between flows."""

    def __init__(self, *, capacity: int, reserve: int, beside: int) -> None:
        """Take the sizes of the FairQueue."""
        self._queue = FairQueue(capacity=capacity, reserve=reserve, beside=beside)
        self._waiting: dict[Turn, asyncio.Future[None]] = {}
        self._crowded_until_s = 0.0
        self._running = 0
        self.waits = Waits()
        """Of the turns that have begun."""

    @classmethod
    def of_sequences(cls, capacity: int) -> "Gate":
        """Make a gate that counts sequences; beside others, a flow takes a quarter of them."""
        quarter = capacity // 4
        return cls(capacity=capacity, reserve=min(quarter, MOST_RESERVED), beside=max(1, quarter))

    @classmethod
    def of_tokens(cls, capacity: int) -> "Gate":
        """Make a gate that counts tokens of sequences; beside others, a flow takes a quarter of them."""
        return cls(capacity=capacity, reserve=capacity // 4, beside=max(1, capacity // 4))

    def state(self, name: str) -> QueueState:
        """Say how things stand; `name` is what the gate stands before."""
        waits = self.waits
        return QueueState(
            name=name,
            running=self._running,
            waiting=len(self._waiting),
            waited=waits.buckets,
            waited_s=waits.total_s,
        )

    @asynccontextmanager
    async def turn(self, flow: Flow, *, cost: int = 1) -> AsyncGenerator[None]:
        """Wait for a turn of `flow`, and hold its room until the block ends."""
        turn = self._queue.ask(flow, cost=cost)
        loop = asyncio.get_running_loop()
        asked_s = loop.time()
        begun = self._waiting[turn] = loop.create_future()
        self._let_in()
        try:
            await begun
            self.waits.note(loop.time() - asked_s)
            with self._counted():
                yield
        finally:
            self._waiting.pop(turn, None)
            self._queue.leave(turn)
            self._let_in()

    @contextmanager
    def _counted(self) -> Generator[None]:
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    def _let_in(self) -> None:
        # Whoever calls once will soon call again, and must not find the room filled up anew each time.
        now_s = asyncio.get_running_loop().time()
        if self._queue.crowded:
            self._crowded_until_s = now_s + REMEMBERED_S
        for turn in self._queue.admit(alone=now_s >= self._crowded_until_s):
            begun = self._waiting.pop(turn)
            if not begun.done():  # a waiter that was cancelled leaves by itself
                begun.set_result(None)
