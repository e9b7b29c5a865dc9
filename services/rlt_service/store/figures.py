"""Own the figures of a whole installation, read from its database: what waits, what runs, what has ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from sqlalchemy import case, func, select, union_all
from sqlalchemy.orm import Session

from rlt_core.schemas.base import now_utc
from rlt_service.store import history
from rlt_service.store.database import Database
from rlt_service.store.job_rows import is_due
from rlt_service.store.pipeline_rows import CONDUCTED, for_workers
from rlt_service.store.tables import DatasetTable, JobRow, OutboxRow

NEWEST_STARTS = 200
"""Of each status; what has started is told by the newest rows, since no index is on when it did."""
_STARTED = ("running", "paused", "succeeded", "failed", "cancelled")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueFigures:
    """What waits for workers of one kind of resource; jobs whose time has not come are left out."""

    waiting: int
    oldest_s: float
    """For how long the one that was submitted first has waited, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StartedJob:
    """A job that a worker has claimed, and how long it waited before the first claim."""

    ordinal: int
    queue: str
    waited_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What an operator wants to know of an installation, as of one moment."""

    jobs: Mapping[tuple[str, str], int]
    """All there ever were, by kind and status."""
    retries: Mapping[str, int]
    """Attempts beyond each job's first, by kind."""
    queues: Mapping[str, QueueFigures]
    """Queues in which something waits or runs."""
    started: Sequence[StartedJob]
    busy_workers: int
    bells: int
    """Owed for jobs whose time has come."""
    datasets: int
    dataset_rows: int
    dataset_bytes: int


class FiguresStore:
    """Reads figures, in one snapshot."""

    def __init__(self, database: Database) -> None:
        """Take a started database."""
        self._database = database

    def read(self) -> Figures:
        """Read everything; raises UnavailableError. What takes longest is a walk over an index of all jobs."""
        now = now_utc()
        with self._database.reading() as session:
            jobs, retries = _jobs(session)
            rows, size = func.sum(DatasetTable.rows), func.sum(DatasetTable.size_bytes)
            datasets = session.execute(select(func.count(), rows, size).select_from(DatasetTable)).one()
            owed = select(func.count()).select_from(OutboxRow)
            due = OutboxRow.due_at.is_(None) | (OutboxRow.due_at <= now)
            busy = select(func.count(func.distinct(JobRow.worker))).where(JobRow.status == "running", for_workers())
            return Figures(
                jobs=jobs,
                retries=retries,
                queues=_queues(session, now),
                started=_started(session),
                busy_workers=session.scalar(busy) or 0,
                bells=session.scalar(owed.where(due)) or 0,
                datasets=datasets[0],
                dataset_rows=int(datasets[1] or 0),
                dataset_bytes=int(datasets[2] or 0),
            )


def _jobs(session: Session) -> tuple[dict[tuple[str, str], int], dict[str, int]]:
    again = func.sum(case((JobRow.attempt > 1, JobRow.attempt - 1), else_=0))
    jobs, retries = dict[tuple[str, str], int](), dict[str, int]()
    query = select(JobRow.kind, JobRow.status, func.count(), again).group_by(JobRow.kind, JobRow.status)
    for kind, status, count, beyond in session.execute(query):
        jobs[kind, status] = count
        retries[kind] = retries.get(kind, 0) + int(beyond)
    return jobs, retries


def _queues(session: Session, now: datetime) -> dict[str, QueueFigures]:
    running = select(JobRow.queue).where(JobRow.status == "running", for_workers()).distinct()
    found = {queue: QueueFigures(waiting=0, oldest_s=0.0) for queue in session.scalars(running)}
    waits = (
        select(JobRow.queue, func.count(), func.min(JobRow.ordinal))
        .where(JobRow.status == "queued", for_workers(), is_due())
        .group_by(JobRow.queue)
    )
    for queue, count, first in session.execute(waits).all():
        found[queue] = QueueFigures(waiting=count, oldest_s=_waited_s(session, first, now))
    return found


def _waited_s(session: Session, ordinal: int, now: datetime) -> float:
    """Say how long a queued job has waited: since its last event, which put it there, or since its time came."""
    columns = (JobRow.id, JobRow.last_seq, JobRow.created_at, JobRow.not_before)
    job_id, seq, created, not_before = session.execute(select(*columns).where(JobRow.ordinal == ordinal)).one()
    since = history.told_at(session, job_id, seq=seq) or created
    return max(0.0, (now - max(since, not_before or since)).total_seconds())


def _started(session: Session) -> list[StartedJob]:
    newest = [
        select(JobRow.ordinal)
        .where(JobRow.status == status, JobRow.started_at.is_not(None))
        .order_by(JobRow.ordinal.desc())
        .limit(NEWEST_STARTS)
        .subquery()
        for status in _STARTED
    ]
    ordinals = union_all(*(select(part.c.ordinal) for part in newest))
    columns = (JobRow.ordinal, JobRow.queue, JobRow.created_at, JobRow.not_before, JobRow.started_at)
    query = select(*columns).where(JobRow.ordinal.in_(ordinals), JobRow.queue != CONDUCTED).order_by(JobRow.ordinal)
    return [
        StartedJob(ordinal=ordinal, queue=queue, waited_s=_before_start_s(created, not_before, cast(datetime, started)))
        for ordinal, queue, created, not_before, started in session.execute(query)
    ]


def _before_start_s(created: datetime, not_before: datetime | None, started: datetime) -> float:
    # A job that ran once may have been put off since: that is not what its first start waited for.
    put_off = not_before is not None and not_before <= started
    return max(0.0, (started - (max(created, not_before) if put_off and not_before else created)).total_seconds())
