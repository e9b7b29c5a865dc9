"""Notice an engine that hangs without dying: it is asked for a sign of life, and every call of ours has a deadline."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from rlt_core.errors import EngineUnavailableError

INTERVAL_SHARE = 1 / 6
"""Of the patience, between two signs; a sign has the rest, so that a hang is noticed within the patience."""

ResultT = TypeVar("ResultT")


class Pulse:
    """Says of an engine whether it answers; once it did not, it counts as hung until it is started anew."""

    def __init__(self, ask: Callable[[], Awaitable[object]], *, patience_s: float) -> None:
        """Take the cheapest call that the whole engine has to answer."""
        self._ask = ask
        self._patience_s = patience_s
        self._task: asyncio.Task[None] | None = None
        self.fault = ""
        """Why the engine counts as hung; empty while it answers."""

    def start(self) -> None:
        """Begin to ask."""
        self._task = asyncio.create_task(self._beat_on())

    async def stop(self) -> None:
        """Ask no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def within(self, what: str, call: Awaitable[ResultT]) -> ResultT:
        """Await a call to the engine; raises EngineUnavailableError at the deadline, and the engine counts as hung."""
        return await self._timed(what, call, timeout_s=self._patience_s)

    async def _beat_on(self) -> None:
        interval_s = self._patience_s * INTERVAL_SHARE
        while not self.fault:
            await asyncio.sleep(interval_s)
            try:
                await self._timed("give a sign of life", self._ask(), timeout_s=self._patience_s - interval_s)
            except EngineUnavailableError:
                return
            except Exception as error:  # the task's boundary: an engine that refuses to answer does not answer
                self.fault = f"does not answer: {error}"

    async def _timed(self, what: str, call: Awaitable[ResultT], *, timeout_s: float) -> ResultT:
        try:
            async with asyncio.timeout(timeout_s):
                return await call
        except TimeoutError:
            self.fault = f"does not answer: it did not {what} within {timeout_s:g} s (RLT_ENGINE_PATIENCE_S)"
            raise EngineUnavailableError(f"The engine {self.fault}.", retry_after_s=10.0) from None
