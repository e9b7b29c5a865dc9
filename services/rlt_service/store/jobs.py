"""Own the jobs table: submit, claim, beat, progress, end. Every write of a running attempt is fenced by its number."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CursorResult, delete, func, or_, select, update
from sqlalchemy.orm import Session

from rlt_core.errors import InvalidRequestError, NotFoundError, NotImplementedYetError, StaleAttemptError
from rlt_core.schemas.base import Page, new_id, now_utc
from rlt_core.schemas.jobs import (
    JOB_SPEC,
    TERMINAL,
    Job,
    JobError,
    JobEvent,
    JobKind,
    JobResult,
    JobStatus,
    Progress,
    RlSpec,
    WarmupSpec,
)
from rlt_service.store import history
from rlt_service.store.database import Database
from rlt_service.store.tables import BellRow, JobRow, OutboxRow
from rlt_service.store.transitions import check_transition

QUEUE = "train"
"""Every kind of job needs the same resource so far, so all wait in one queue."""
MAX_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedJob:
    """A job that this worker now owns, for as long as `attempt` is the job's attempt."""

    job: Job
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseState:
    """What a heartbeat brings back."""

    cancel_requested: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """What a lease watcher compares between two looks: a pair that stands still has lost its supervisor."""

    id: str
    attempt: int
    beat: int


class JobStore:
    """All reads and writes of jobs; each method is one transaction."""

    def __init__(self, database: Database, *, max_crashes: int = 3) -> None:
        """Take a started database, and how many crashes in a row without progress end a job."""
        self._database = database
        self._max_crashes = max_crashes

    def submit(self, spec: WarmupSpec | RlSpec) -> Job:
        """Store a job, the bell it is owed, and its first event, all or none."""
        with self._database.transaction() as session:
            row = JobRow(
                id=new_id("job"),
                kind=spec.kind,
                name=spec.name,
                queue=QUEUE,
                status="queued",
                priority=spec.priority,
                not_before=spec.not_before,
                created_at=now_utc(),
                attempt=0,
                beat=0,
                cancel_requested=False,
                crashes=0,
                best_step=0,
                last_seq=0,
                spec=spec.model_dump(mode="json"),
                progress=Progress(total=spec.steps if isinstance(spec, RlSpec) else spec.max_steps).model_dump(),
            )
            session.add(row)
            session.flush()
            session.add(OutboxRow(queue=QUEUE, job_id=row.id, due_at=spec.not_before))
            history.append(session, row, "queued")
            return _job(row)

    def get(self, job_id: str) -> Job:
        """Return a job; raises NotFoundError."""
        with self._database.reading() as session:
            return _job(_find(session, job_id, lock=False))

    def list(
        self,
        *,
        limit: int = 20,
        after: str | None = None,
        status: JobStatus | None = None,
        kind: JobKind | None = None,
    ) -> Page[Job]:
        """Return a page, newest first; `after` is the last id of the page before."""
        query = select(JobRow).order_by(JobRow.ordinal.desc()).limit(limit + 1)
        if status is not None:
            query = query.where(JobRow.status == status)
        if kind is not None:
            query = query.where(JobRow.kind == kind)
        with self._database.reading() as session:
            if after is not None:
                last = session.scalar(select(JobRow.ordinal).where(JobRow.id == after))
                if last is None:
                    raise InvalidRequestError(f"`after` names no job: {after!r}.", param="/after")
                query = query.where(JobRow.ordinal < last)
            rows = list(session.scalars(query))
        jobs = [_job(row) for row in rows[:limit]]
        return Page[Job](data=jobs, has_more=len(rows) > limit, last_id=jobs[-1].id if jobs else None)

    def counts(self) -> dict[str, int]:
        """Count jobs by status."""
        with self._database.reading() as session:
            query = select(JobRow.status, func.count()).group_by(JobRow.status)
            return {row[0]: row[1] for row in session.execute(query)}

    def cancel(self, job_id: str) -> Job:
        """Cancel: at once while nobody runs it, else ask its supervisor. Repeatable; JobStateError once it ended."""
        with self._database.transaction() as session:
            row = _find(session, job_id)
            if row.status == "running":
                if not row.cancel_requested:
                    row.cancel_requested = True
                    history.append(session, row, "cancel_requested")
            elif row.status != "cancelled":
                _move(session, row, "cancelled")
            return _job(row)

    def pause(self, job_id: str) -> Job:
        """Take a waiting job out of the queue; repeatable. A running one raises NotImplementedYetError."""
        with self._database.transaction() as session:
            row = _find(session, job_id)
            if row.status == "running":
                raise NotImplementedYetError(
                    f"Job {job_id} is running; this server pauses queued jobs only. Cancel it, or let it end."
                )
            if row.status != "paused":
                _move(session, row, "paused")
            return _job(row)

    def resume(self, job_id: str) -> Job:
        """Put a paused job back into the queue; repeatable."""
        with self._database.transaction() as session:
            row = _find(session, job_id)
            if row.status not in ("queued", "running"):
                row.error = None
                _move(session, row, "queued")
                session.add(OutboxRow(queue=row.queue, job_id=row.id, due_at=row.not_before))
            return _job(row)

    def claim(self, *, queue: str, worker: str) -> ClaimedJob | None:
        """Take the next due job (priority, `not_before`, age) by compare-and-swap; None when nothing waits."""
        with self._database.transaction() as session:
            due = or_(JobRow.not_before.is_(None), JobRow.not_before <= now_utc())
            order = (JobRow.priority.desc(), func.coalesce(JobRow.not_before, JobRow.created_at), JobRow.ordinal)
            row = session.scalar(
                select(JobRow)
                .where(JobRow.queue == queue, JobRow.status == "queued", due)
                .order_by(*order)
                .limit(1)
                .with_for_update(skip_locked=True)
            )
            if row is None:
                return None
            swapped = session.execute(
                update(JobRow)
                .where(JobRow.ordinal == row.ordinal, JobRow.status == "queued", JobRow.attempt == row.attempt)
                .values(attempt=row.attempt + 1, beat=0, worker=worker)
                .execution_options(synchronize_session=False)
            )
            if cast(CursorResult[Any], swapped).rowcount != 1:
                return None
            session.refresh(row)
            row.started_at = row.started_at or now_utc()
            _move(session, row, "running", {"worker": worker}, event="started")
            session.execute(delete(OutboxRow).where(OutboxRow.job_id == row.id))
            session.execute(delete(BellRow).where(BellRow.queue == queue))
            return ClaimedJob(job=_job(row), attempt=row.attempt)

    def beat(self, job_id: str, attempt: int) -> LeaseState:
        """Renew the lease by counting; raises StaleAttemptError when the job belongs to another attempt or ended."""
        with self._database.transaction() as session:
            row = fenced_job(session, job_id, attempt)
            row.beat += 1
            return LeaseState(cancel_requested=row.cancel_requested)

    def save_progress(self, job_id: str, attempt: int, progress: Progress) -> None:
        """Store how far the attempt is, with a `progress` event; fenced."""
        self.record(job_id, attempt, [("progress", progress.model_dump())], progress=progress)

    def append_event(self, job_id: str, attempt: int, type_: str, data: Mapping[str, Any]) -> None:
        """Add one event of the running attempt; fenced."""
        self.record(job_id, attempt, [(type_, data)])

    def record(
        self,
        job_id: str,
        attempt: int,
        events: Sequence[tuple[str, Mapping[str, Any]]],
        *,
        progress: Progress | None = None,
    ) -> None:
        """Add several events and the newest progress in one transaction; fenced."""
        with self._database.transaction() as session:
            row = fenced_job(session, job_id, attempt)
            for type_, data in events:
                history.append(session, row, type_, data)
            if progress is not None:
                row.progress = progress.model_dump()
                if progress.step > row.best_step:
                    row.best_step, row.crashes = progress.step, 0

    def finish(
        self,
        job_id: str,
        attempt: int,
        status: JobStatus,
        *,
        result: JobResult | None = None,
        error: JobError | None = None,
    ) -> Job:
        """End a running attempt as succeeded, failed or cancelled, with one terminal event; fenced."""
        if status not in TERMINAL:
            raise ValueError(f"a job cannot end as {status!r}")
        with self._database.transaction() as session:
            row = fenced_job(session, job_id, attempt)
            if result is not None:
                row.result = result.model_dump(mode="json")
            _end(session, row, status, error)
            return _job(row)

    def requeue(
        self, job_id: str, attempt: int, reason: str, *, error: JobError | None = None, crash: bool = True
    ) -> Job:
        """Give a running job back: to the queue, or to its end where it was cancelled or crashed too often; fenced.

        `error` is what the job ends with if this crash was the last one; `crash=False` (a drain) is not counted.
        """
        with self._database.transaction() as session:
            row = fenced_job(session, job_id, attempt)
            row.crashes += int(crash)
            if row.cancel_requested:
                _end(session, row, "cancelled", None)
            elif row.crashes >= self._max_crashes:
                lost = error or JobError(code="worker_lost", message=reason, retryable=True)
                message = f"{lost.message} ({row.crashes} crashes in a row without progress)"
                _end(session, row, "failed", lost.model_copy(update={"message": message}))
            else:
                _move(session, row, "queued", {"reason": reason, "crashes": row.crashes}, event="requeued")
                row.worker = None
                session.add(OutboxRow(queue=row.queue, job_id=row.id, due_at=None))
            return _job(row)

    def suspend(self, job_id: str, attempt: int, error: JobError) -> Job:
        """Pause a running job that cannot go on until a human has acted (a full disk); fenced."""
        with self._database.transaction() as session:
            row = fenced_job(session, job_id, attempt)
            row.error, row.worker = error.model_dump(mode="json"), None
            _move(session, row, "paused", {"error": row.error})
            return _job(row)

    def running(self) -> Sequence[RunningJob]:
        """Return every running job with its attempt and beat, for the lease watcher."""
        with self._database.reading() as session:
            query = select(JobRow.id, JobRow.attempt, JobRow.beat).where(JobRow.status == "running")
            return [RunningJob(id=id_, attempt=attempt, beat=beat) for id_, attempt, beat in session.execute(query)]

    def events(
        self, job_id: str, *, after_seq: int = 0, limit: int = MAX_PAGE, types: tuple[str, ...] | None = None
    ) -> Sequence[JobEvent]:
        """Return events with a greater number, oldest first, of the given types (None: all); raises NotFoundError."""
        with self._database.reading() as session:
            _find(session, job_id, lock=False)
            return history.read(session, job_id, after_seq=after_seq, limit=limit, types=types)

    def using_dataset(self, dataset_id: str) -> Sequence[str]:
        """Return ids of jobs that have not ended and read this dataset."""
        with self._database.reading() as session:
            return jobs_using(session, dataset_id)


def jobs_using(session: Session, dataset_id: str) -> Sequence[str]:
    """Find live jobs whose spec names a dataset, as its rows or as a split."""
    rows = session.scalars(select(JobRow).where(JobRow.status.not_in(TERMINAL)))
    return [row.id for row in rows if dataset_id in (row.spec["dataset"], *row.spec["splits"].values())]


def _find(session: Session, job_id: str, *, lock: bool = True) -> JobRow:
    query = select(JobRow).where(JobRow.id == job_id)
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFoundError(f"There is no job {job_id!r}; GET /v1/jobs lists them.")
    return row


def fenced_job(session: Session, job_id: str, attempt: int) -> JobRow:
    """Return the row of a running job that belongs to `attempt`; raises NotFoundError, StaleAttemptError."""
    row = _find(session, job_id)
    if row.status != "running" or row.attempt != attempt:
        raise StaleAttemptError(
            f"Attempt {attempt} no longer owns job {job_id}, which is {row.status} at attempt {row.attempt}: "
            "stop writing and end.",
            extra={"status": row.status, "attempt": row.attempt},
        )
    return row


def _move(
    session: Session, row: JobRow, status: JobStatus, data: Mapping[str, Any] | None = None, *, event: str | None = None
) -> None:
    """Change the status: the only place that does."""
    check_transition(row.id, cast(JobStatus, row.status), status)
    row.status = status
    if status in TERMINAL:
        row.finished_at = now_utc()
        session.execute(delete(OutboxRow).where(OutboxRow.job_id == row.id))
    history.append(session, row, event or status, data)


def _end(session: Session, row: JobRow, status: JobStatus, error: JobError | None) -> None:
    row.error = error.model_dump(mode="json") if error is not None else None
    data = {"result": row.result, "error": row.error}
    _move(session, row, status, {key: value for key, value in data.items() if value is not None})


def _job(row: JobRow) -> Job:
    return Job(
        id=row.id,
        kind=cast(JobKind, row.kind),
        name=row.name,
        status=cast(JobStatus, row.status),
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        attempt=row.attempt,
        cancel_requested=row.cancel_requested,
        progress=Progress.model_validate(row.progress),
        spec=JOB_SPEC.validate_python(row.spec),
        result=JobResult.model_validate(row.result) if row.result is not None else None,
        error=JobError.model_validate(row.error) if row.error is not None else None,
    )
