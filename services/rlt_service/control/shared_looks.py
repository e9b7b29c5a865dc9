"""Own the looks at the store that many readers share: who waits for the same news gets it of one read."""

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from rlt_service.store.ownership import VIEWER

SeenT = TypeVar("SeenT")


class SharedLooks(Generic[SeenT]):
    """Of one process, in its event loop. Two thousand readers of one job cost the database as much as one."""

    def __init__(self) -> None:
        self._coming: dict[Hashable, asyncio.Task[SeenT]] = {}

    async def soon(self, look: Callable[[], SeenT], *, key: Hashable, in_s: float) -> SeenT:
        """Give what `look`, called in a thread in at most so many seconds, finds; raises what it raises.

        A look that has begun takes in nobody else: it may have read before the other asked. Readers by different keys
        of the service share nothing, since they may see different things.
        """
        key = (VIEWER.get(), key)
        coming = self._coming.get(key)
        if coming is None:
            coming = self._coming[key] = asyncio.create_task(self._look(look, key=key, in_s=in_s))
            coming.add_done_callback(_heard)
        # A reader that leaves takes nothing away from the others.
        return await asyncio.shield(coming)

    async def _look(self, look: Callable[[], SeenT], *, key: Hashable, in_s: float) -> SeenT:
        try:
            await asyncio.sleep(in_s)
        finally:
            del self._coming[key]
        return await asyncio.to_thread(look)


def _heard(task: "asyncio.Task[SeenT]") -> None:
    """Take note of a fault that nobody waited for any more."""
    if not task.cancelled():
        task.exception()
