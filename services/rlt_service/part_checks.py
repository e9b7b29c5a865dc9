"""Own how /readyz looks at a part: with a deadline, since a database or a disk may hang without failing."""

import asyncio
from collections.abc import Callable

from rlt_core.errors import RltError
from rlt_core.schemas.server import Check

PART_S = 1.5
"""A part that takes longer counts as one that does not answer: who asks gives up after some seconds."""


class PartCheck:
    """Looks whether a part works: once at a time, since what hangs holds a thread."""

    def __init__(self, name: str, look: Callable[[], None]) -> None:
        """Take what callers call the part, and what raises RltError where it does not work."""
        self._name = name
        self._look = look
        self._looking: asyncio.Task[Check] | None = None

    async def ask(self) -> Check:
        """Give what was found; within `PART_S`, whatever the part does."""
        looking = self._looking
        if looking is None or looking.done():
            looking = self._looking = asyncio.create_task(asyncio.to_thread(self._found))
        done, _ = await asyncio.wait([looking], timeout=PART_S)
        if not done:
            return Check(ok=False, detail=f"{self._name} did not answer within {PART_S:g} s")
        return looking.result()  # another caller may have begun the next look by now

    def _found(self) -> Check:
        try:
            self._look()
        except RltError as error:
            return Check(ok=False, detail=error.detail)
        return Check(ok=True)
