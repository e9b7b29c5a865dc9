"""Own which queues need their bell rung: bells owed since a submission, and waiting rows that nobody came for."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from rlt_core.schemas.base import now_utc
from rlt_service.store.database import Database
from rlt_service.store.job_rows import is_due
from rlt_service.store.pipeline_rows import for_workers
from rlt_service.store.retries import tried_again
from rlt_service.store.tables import BellRow, JobRow, OutboxRow
from rlt_service.store.turns import take_turn

FIRST_QUIET_S = 5.0
"""Seconds after a ring in vain before the same queue is rung again; doubles each time."""
MAX_QUIET_S = 20.0
"""A broker that is back rings again within half a minute, of which the reconciler's round takes 10 s."""


class Outbox:
    """Bells: owed ones are rung at once, repeated ones with exponential back-off, by one process at a time."""

    def __init__(self, database: Database) -> None:
        """Take a started database."""
        self._database = database

    def owed(self) -> list[tuple[str, int]]:
        """Return queues whose bell was never rung for a due job, each with the newest outbox row that a ring covers."""
        with self._database.reading() as session:
            rows = session.scalars(select(OutboxRow).where(_due(OutboxRow.due_at, now_utc())))
            newest: dict[str, int] = {}
            for row in rows:
                newest[row.queue] = max(row.ordinal, newest.get(row.queue, 0))
        return sorted(newest.items())

    @tried_again
    def rung(self, queue: str, *, up_to: int) -> None:
        """Forget the bells that a successful ring has paid; rows that are not due yet stay."""
        with self._database.transaction() as session:
            session.execute(
                delete(OutboxRow).where(
                    OutboxRow.queue == queue, OutboxRow.ordinal <= up_to, _due(OutboxRow.due_at, now_utc())
                )
            )

    def waiting(self) -> list[str]:
        """Return queues with due rows that nobody has claimed."""
        with self._database.reading() as session:
            query = select(JobRow.queue).where(JobRow.status == "queued", for_workers(), is_due()).distinct()
            return sorted(session.scalars(query))

    @tried_again
    def take_turn(self, queue: str) -> bool:
        """Win the right to ring a waiting queue again; the next turn comes after twice the time."""
        now = now_utc()
        with self._database.transaction() as session:
            take_turn(session, "bell", queue)
            bell = session.get(BellRow, queue, with_for_update=True)
            if bell is None:
                bell = BellRow(queue=queue, rings=0, quiet_until=now)
                session.add(bell)
            elif now < bell.quiet_until <= now + timedelta(seconds=MAX_QUIET_S):  # beyond it, the clock was set back
                return False
            bell.quiet_until = now + timedelta(seconds=min(FIRST_QUIET_S * 2**bell.rings, MAX_QUIET_S))
            bell.rings = min(bell.rings + 1, 32)
        return True

    @tried_again
    def answered(self, queue: str) -> None:
        """Somebody heard the bell: start the back-off anew."""
        with self._database.transaction() as session:
            session.execute(delete(BellRow).where(BellRow.queue == queue))


def _due(column: InstrumentedAttribute[datetime | None], now: datetime) -> ColumnElement[bool]:
    return or_(column.is_(None), column <= now)
