"""Count an engine's requests in flight, refuse new ones while draining, end the rest at the deadline."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from rlt_core.errors import EngineUnavailableError

ResultT = TypeVar("ResultT")


class Admission:
    """Runs each request as a task of its own, so that draining can end it without touching its caller's task."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed_because = "is starting"

    @property
    def in_flight(self) -> int:
        """Count the requests in hand."""
        return len(self._tasks)

    @property
    def open(self) -> bool:
        """Whether new requests are taken."""
        return not self._closed_because

    @property
    def state(self) -> str:
        """Say in a word or two whether requests are taken, and why not."""
        return self._closed_because or "is serving"

    def open_up(self) -> None:
        """Take requests from now on."""
        self._closed_because = ""

    def close(self, because: str) -> None:
        """Refuse requests from now on; `because` completes the sentence `The engine …`."""
        self._closed_because = because

    def submit(self, work: Coroutine[Any, Any, ResultT]) -> "asyncio.Task[ResultT]":
        """Start `work`, or raise EngineUnavailableError where the engine takes nothing at the moment."""
        if self._closed_because:
            work.close()
            raise EngineUnavailableError(f"The engine {self._closed_because}; try again shortly.", retry_after_s=5.0)
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def drain(self, *, timeout_s: float) -> None:
        """Refuse new requests, wait up to `timeout_s` for those in flight, cancel the rest and see them end."""
        self.close("is draining")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        await cancel_all(self._tasks)


async def result_of(task: "asyncio.Task[ResultT]") -> ResultT:
    """Await a submitted task; one that draining ended raises EngineUnavailableError, not a cancellation."""
    try:
        return await task
    except asyncio.CancelledError:
        caller = asyncio.current_task()
        if caller is not None and caller.cancelling():
            raise
        raise EngineUnavailableError("The engine stopped before the request was done; send it again.") from None


async def cancel_all(tasks: "set[asyncio.Task[Any]]") -> None:
    """Cancel the tasks and wait until each has ended, whatever it ends with."""
    remaining = list(tasks)
    for task in remaining:
        task.cancel()
    await asyncio.gather(*remaining, return_exceptions=True)
