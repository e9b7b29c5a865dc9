"""Own the events of a job: numbered without gaps in the transaction that changes the job, never changed after."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from rlt_core.schemas.base import now_utc
from rlt_core.schemas.jobs import JobEvent
from rlt_service.store.tables import JobEventRow, JobRow


def append(session: Session, job: JobRow, type_: str, data: Mapping[str, Any] | None = None) -> None:
    """Add one event to `job`, whose row the caller holds in a writing transaction."""
    job.last_seq += 1
    session.add(
        JobEventRow(
            job_id=job.id,
            seq=job.last_seq,
            attempt=job.attempt,
            created_at=now_utc(),
            type=type_,
            data=dict(data or {}),
        )
    )


def read(session: Session, job_id: str, *, after_seq: int, limit: int, types: tuple[str, ...] | None) -> list[JobEvent]:
    """Return up to `limit` events with a greater number, oldest first."""
    query = select(JobEventRow).where(JobEventRow.job_id == job_id, JobEventRow.seq > after_seq)
    if types is not None:
        query = query.where(JobEventRow.type.in_(types))
    return [_event(row) for row in session.scalars(query.order_by(JobEventRow.seq).limit(limit))]


def newest(session: Session, job_id: str, *, type_: str, limit: int) -> list[JobEvent]:
    """Return up to `limit` events of a type, newest first."""
    query = select(JobEventRow).where(JobEventRow.job_id == job_id, JobEventRow.type == type_)
    return [_event(row) for row in session.scalars(query.order_by(JobEventRow.seq.desc()).limit(limit))]


def steps(session: Session, job_id: str, *, type_: str) -> list[tuple[int, int]]:
    """Return number and step of each event of a type, oldest first, without what else they tell."""
    query = select(JobEventRow.seq, JobEventRow.data["step"].as_integer())
    query = query.where(JobEventRow.job_id == job_id, JobEventRow.type == type_).order_by(JobEventRow.seq)
    return [(seq, step or 0) for seq, step in session.execute(query)]


def told(session: Session, job_id: str, seqs: Sequence[int]) -> list[dict[str, Any]]:
    """Return what the events of these numbers tell, the oldest first."""
    query = select(JobEventRow.data).where(JobEventRow.job_id == job_id, JobEventRow.seq.in_(seqs))
    return list(session.scalars(query.order_by(JobEventRow.seq)))


def told_at(session: Session, job_id: str, *, seq: int) -> datetime | None:
    """Say when the event of a number was added; None where there is none."""
    row = session.get(JobEventRow, (job_id, seq))
    return None if row is None else row.created_at


def _event(row: JobEventRow) -> JobEvent:
    return JobEvent(
        seq=row.seq,
        job_id=row.job_id,
        attempt=row.attempt,
        created_at=row.created_at,
        type=row.type,
        data=row.data,
    )
