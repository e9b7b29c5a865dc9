"""Own a look at what may hang (a database, a disk): in a thread, once at a time, awaited for so long and no longer."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

SeenT = TypeVar("SeenT")


class BoundedLook(Generic[SeenT]):
    """Gives what a look has found; who asks while another one hangs waits for that one, and holds no further thread."""

    def __init__(self, look: Callable[[], SeenT], *, patience_s: float) -> None:
        """Take what looks, which may raise, and how long a caller waits."""
        self._look = look
        self._patience_s = patience_s
        self._looking: asyncio.Task[SeenT] | None = None

    async def ask(self) -> SeenT:
        """Look; raises TimeoutError, and what the look raises."""
        looking = self._looking
        if looking is None or looking.done():
            looking = self._looking = asyncio.create_task(asyncio.to_thread(self._look))
            looking.add_done_callback(_retrieve)
        done, _ = await asyncio.wait([looking], timeout=self._patience_s)
        if not done:
            raise TimeoutError
        return looking.result()


def _retrieve(looking: "asyncio.Task[SeenT]") -> None:
    """Mark an error as seen: nobody may be waiting any more when it comes."""
    if not looking.cancelled():
        looking.exception()
