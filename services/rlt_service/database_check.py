"""Own how /readyz asks the database: with a deadline, since a database may hang without failing."""

import asyncio

from rlt_core.errors import RltError
from rlt_core.schemas.server import Check
from rlt_service.store.database import Database

DATABASE_S = 1.5
"""A database that takes longer counts as one that does not answer: who asks gives up after some seconds."""


class DatabaseCheck:
    """Asks the database whether it works: once at a time, since what hangs holds a thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asking: asyncio.Task[Check] | None = None

    async def ask(self) -> Check:
        """Give its answer; within `DATABASE_S`, whatever the database does."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(asyncio.to_thread(self._ask))
        done, _ = await asyncio.wait([self._asking], timeout=DATABASE_S)
        if not done:
            return Check(ok=False, detail=f"the database did not answer within {DATABASE_S:g} s")
        return self._asking.result()

    def _ask(self) -> Check:
        try:
            self._database.check()
        except RltError as error:
            return Check(ok=False, detail=error.detail)
        return Check(ok=True)
