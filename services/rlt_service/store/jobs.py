"""Own the jobs table: submit, claim, beat, progress, end. Every write of a running attempt is fenced by its number."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast, get_args

from pydantic import ValidationError
from sqlalchemy import CursorResult, delete, func, select, update
from sqlalchemy.orm import Session

from rlt_core.errors import InvalidRequestError, StaleAttemptError
from rlt_core.schemas.base import Page, now_utc
from rlt_core.schemas.jobs import (
    QUEUE,
    SPEC_VERSION,
    TERMINAL,
    AnySpec,
    Job,
    JobError,
    JobEvent,
    JobKind,
    JobResult,
    JobStatus,
    Progress,
    StepKind,
)
from rlt_service.store import asking, history
from rlt_service.store.database import Database
from rlt_service.store.idempotency import JSON_TYPE, keep
from rlt_service.store.job_rows import end_job, fenced_job, find_job, is_due, job_of, move_job, spec_of, unreadable
from rlt_service.store.job_rules import JobRules
from rlt_service.store.new_jobs import new_row
from rlt_service.store.ownership import caller, owner, project, visible
from rlt_service.store.pipeline_rows import for_workers
from rlt_service.store.quotas import admit_job
from rlt_service.store.retries import tried_again
from rlt_service.store.tables import BellRow, JobRow, OutboxRow
from rlt_service.store.turns import take_turn

MAX_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedJob:
    """A job that this worker now owns, for as long as `attempt` is the job's attempt."""

    job: Job
    attempt: int
    traceparent: str | None = None
    """Where in which trace the job was submitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseState:
    """What a heartbeat brings back."""

    cancel_requested: bool
    pause_requested: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """What a lease watcher compares between two looks: a pair that stands still has lost its supervisor."""

    id: str
    attempt: int
    beat: int


class JobStore:
    """All reads and writes of jobs; each method is one transaction."""

    def __init__(self, database: Database, rules: JobRules | None = None) -> None:
        """Take a started database, and what this installation wants."""
        self._database = database
        self._rules = rules or JobRules()

    @tried_again
    def submit(self, spec: AnySpec) -> Job:
        """Store a job, the bell it is owed, and its first event, all or none."""
        with self._database.transaction() as session:
            row = new_row(spec, queue=self._rules.queues.get(spec.kind, QUEUE), owner=owner(), submitter=caller())
            admit_job(session, row, project=project())
            session.add(row)
            session.flush()
            session.add(OutboxRow(queue=row.queue, job_id=row.id, due_at=spec.not_before))
            history.append(session, row, "queued")
            job = job_of(row)
            keep(session, job, status=202, headers={"content-type": JSON_TYPE, "location": f"/v1/jobs/{job.id}"})
            return job

    def get(self, job_id: str) -> Job:
        """Return a job; raises NotFoundError."""
        with self._database.reading() as session:
            return job_of(find_job(session, job_id, lock=False))

    def list(
        self,
        *,
        limit: int = 20,
        after: str | None = None,
        status: JobStatus | None = None,
        kind: JobKind | None = None,
        pipeline: str | None = None,
    ) -> Page[Job]:
        """Return a page, newest first, of all or of a pipeline's own steps; `after` is the last id before it."""
        query = select(JobRow).where(visible(JobRow.owner)).order_by(JobRow.ordinal.desc()).limit(limit + 1)
        if status is not None:
            query = query.where(JobRow.status == status)
        if kind is not None:
            query = query.where(JobRow.kind == kind)
        if pipeline is not None:
            query = query.where(JobRow.pipeline_id == pipeline)
        with self._database.reading() as session:
            if after is not None:
                last = session.scalar(select(JobRow.ordinal).where(JobRow.id == after, visible(JobRow.owner)))
                if last is None:
                    raise InvalidRequestError(f"`after` names no job: {after!r}.", param="/after")
                query = query.where(JobRow.ordinal < last)
            rows = list(session.scalars(query))
        jobs = [job_of(row) for row in rows[:limit]]
        return Page[Job](data=jobs, has_more=len(rows) > limit, last_id=jobs[-1].id if jobs else None)

    def counts(self) -> dict[str, int]:
        """Count jobs by status."""
        with self._database.reading() as session:
            query = select(JobRow.status, func.count()).group_by(JobRow.status)
            return {row[0]: row[1] for row in session.execute(query)}

    @tried_again
    def cancel(self, job_id: str) -> Job:
        """Cancel: at once while nobody runs it, else ask its supervisor. Repeatable; JobStateError once it ended."""
        with self._database.transaction() as session:
            row = find_job(session, job_id)
            asking.cancel(session, row)
            return job_of(row)

    @tried_again
    def pause(self, job_id: str) -> Job:
        """Pause: at once while nobody runs it, else ask its supervisor, who saves first. Repeatable; JobStateError."""
        with self._database.transaction() as session:
            row = find_job(session, job_id)
            asking.pause(session, row)
            return job_of(row)

    @tried_again
    def resume(self, job_id: str) -> Job:
        """Put a paused job back into the queue, or take back that it is to pause; repeatable."""
        with self._database.transaction() as session:
            row = find_job(session, job_id)
            asking.resume(session, row)
            return job_of(row)

    @tried_again
    def claim(self, *, queue: str, worker: str) -> ClaimedJob | None:
        """Take the next due job (of highest priority, then the oldest) by compare-and-swap; None when nothing waits.

        Left waiting are specs of a newer version, for a newer worker, and kinds of which enough run. A spec that
        today's rules refuse ends as `invalid`: it would be the next one for ever.
        """
        with self._database.transaction() as session:
            while (row := self._next(session, queue)) is not None:
                try:
                    spec_of(row)
                except ValidationError as error:
                    end_job(session, row, "failed", unreadable(error))
                    session.flush()
                    continue
                return self._start(session, row, worker=worker)
        return None

    def waits(self, queue: str) -> bool:
        """Tell whether a claim would find something."""
        with self._database.reading() as session:
            return self._next(session, queue, lock=False) is not None

    def _next(self, session: Session, queue: str, *, lock: bool = True) -> JobRow | None:
        query = (
            select(JobRow)
            .where(
                JobRow.queue == queue,
                JobRow.status == "queued",
                JobRow.spec_version <= SPEC_VERSION,
                JobRow.kind.in_(self._kinds_with_room(session, lock=lock)),
                is_due(),
            )
            .order_by(JobRow.priority.desc(), JobRow.ordinal)
            .limit(1)
        )
        return session.scalar(query.with_for_update(skip_locked=True) if lock else query)

    def _kinds_with_room(self, session: Session, *, lock: bool) -> Sequence[str]:
        kinds: tuple[StepKind, ...] = get_args(StepKind)
        limits = self._rules.max_running
        if not limits:
            return kinds
        if lock:  # what runs is counted by one claim at a time
            take_turn(session, "claims")
        query = select(JobRow.kind, func.count()).where(JobRow.status == "running").group_by(JobRow.kind)
        running = {row[0]: row[1] for row in session.execute(query)}
        return [kind for kind in kinds if kind not in limits or running.get(kind, 0) < limits[kind]]

    def _start(self, session: Session, row: JobRow, *, worker: str) -> ClaimedJob | None:
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
        move_job(session, row, "running", {"worker": worker}, event="started")
        session.execute(delete(OutboxRow).where(OutboxRow.job_id == row.id))
        session.execute(delete(BellRow).where(BellRow.queue == row.queue))
        return ClaimedJob(job=job_of(row), attempt=row.attempt, traceparent=row.traceparent)

    @tried_again
    def beat(self, job_id: str, attempt: int, *, runtime_s: float | None = None) -> LeaseState:
        """Renew the lease by counting; raises StaleAttemptError when the job belongs to another attempt or ended.

        `runtime_s` is how long all attempts have run so far.
        """
        with self._database.transaction() as session:
            row = fenced_job(session, job_id, attempt)
            row.beat += 1
            row.runtime_s = max(row.runtime_s, runtime_s or 0.0)
            return LeaseState(cancel_requested=row.cancel_requested, pause_requested=row.pause_requested)

    def save_progress(self, job_id: str, attempt: int, progress: Progress) -> None:
        """Store how far the attempt is, with a `progress` event; fenced."""
        self.record(job_id, attempt, [("progress", progress.model_dump())], progress=progress)

    def append_event(self, job_id: str, attempt: int, type_: str, data: Mapping[str, Any]) -> None:
        """Add one event of the running attempt; fenced."""
        self.record(job_id, attempt, [(type_, data)])

    @tried_again
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
                    row.best_step, row.crashes, row.progress_attempt = progress.step, 0, attempt

    @tried_again
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
            end_job(session, row, status, error)
            return job_of(row)

    @tried_again
    def requeue(
        self,
        job_id: str,
        attempt: int,
        reason: str,
        *,
        error: JobError | None = None,
        crash: bool = True,
        beat: int | None = None,
        later_s: float = 0.0,
    ) -> Job:
        """Give a running job back, to the queue or to where it was asked to go; fenced.

        One that was to be cancelled or paused is; one that crashed too often fails with `error`. A crash of an attempt
        that made progress does not count, nor does what is no crash (`crash=False`: a drain). With `beat`, as seen by a
        watcher, nothing happens if the job has beaten since: raises StaleAttemptError. Nobody claims it for `later_s`.
        """
        with self._database.transaction() as session:
            row = fenced_job(session, job_id, attempt)
            if beat is not None and row.beat != beat:
                raise StaleAttemptError(f"Attempt {attempt} of {job_id} is alive: it has beaten meanwhile.")
            row.crashes += int(crash and row.progress_attempt != attempt)
            row.worker = None
            if row.cancel_requested:
                end_job(session, row, "cancelled", None)
            elif row.pause_requested:
                move_job(session, row, "paused", {"reason": reason})
            elif row.crashes >= self._rules.max_crashes:
                lost = error or JobError(code="worker_lost", message=reason, retryable=True)
                message = f"{lost.message} ({row.crashes} crashes in a row without progress)"
                end_job(session, row, "failed", lost.model_copy(update={"message": message}))
            else:
                move_job(session, row, "queued", {"reason": reason, "crashes": row.crashes}, event="requeued")
                row.not_before = now_utc() + timedelta(seconds=later_s) if later_s else None
                session.add(OutboxRow(queue=row.queue, job_id=row.id, due_at=row.not_before))
            return job_of(row)

    @tried_again
    def suspend(self, job_id: str, attempt: int, error: JobError) -> Job:
        """Pause a running job that cannot go on until a human has acted (a full disk); fenced.

        One that was to be cancelled is.
        """
        with self._database.transaction() as session:
            row = fenced_job(session, job_id, attempt)
            row.worker = None
            if row.cancel_requested:
                end_job(session, row, "cancelled", None)
            else:
                row.error = error.model_dump(mode="json")
                move_job(session, row, "paused", {"error": row.error})
            return job_of(row)

    def running(self) -> Sequence[RunningJob]:
        """Return every job that a worker runs, with its attempt and beat, for the lease watcher.

        Specs of a newer version are left to a newer watcher, who knows what runs them and how it shows that it lives.
        """
        query = select(JobRow.id, JobRow.attempt, JobRow.beat)
        query = query.where(JobRow.status == "running", JobRow.spec_version <= SPEC_VERSION, for_workers())
        with self._database.reading() as session:
            return [RunningJob(id=id_, attempt=attempt, beat=beat) for id_, attempt, beat in session.execute(query)]

    def running_attempts(self, job_ids: Collection[str]) -> dict[str, int | None]:
        """Return which attempt of each job runs, None where none does; a job that is not there is left out."""
        with self._database.reading() as session:
            query = select(JobRow.id, JobRow.attempt, JobRow.status).where(JobRow.id.in_(job_ids))
            return {id_: attempt if status == "running" else None for id_, attempt, status in session.execute(query)}

    def events(
        self, job_id: str, *, after_seq: int = 0, limit: int = MAX_PAGE, types: tuple[str, ...] | None = None
    ) -> Sequence[JobEvent]:
        """Return events with a greater number, oldest first, of the given types (None: all); raises NotFoundError."""
        with self._database.reading() as session:
            find_job(session, job_id, lock=False)
            return history.read(session, job_id, after_seq=after_seq, limit=limit, types=types)

    def series(
        self, job_id: str, *, choose: Callable[[Sequence[int]], Sequence[int]]
    ) -> Mapping[int, Mapping[str, float]]:
        """Return the metrics of the chosen ones among a job's steps, in their order; of others nothing is read.

        `choose` is given every step that progress was told of, in order. A step that was done again after a crash has
        the values of the last attempt. Raises NotFoundError.
        """
        with self._database.reading() as session:
            find_job(session, job_id, lock=False)
            seqs = {step: seq for seq, step in history.steps(session, job_id, type_="progress")}
            chosen = choose(sorted(seqs))
            told = history.told(session, job_id, sorted(seqs[step] for step in chosen))
            by_step: dict[int, dict[str, float]] = {data.get("step", 0): data.get("metrics") or {} for data in told}
            return {step: by_step[step] for step in chosen}

    def checkpoints(self, job_id: str, *, limit: int = 20) -> Sequence[JobEvent]:
        """Return the last events that told of a checkpoint, the newest first: each was stored by its job's owner."""
        return self.newest(job_id, type_="checkpoint", limit=limit)

    def newest(self, job_id: str, *, type_: str, limit: int) -> Sequence[JobEvent]:
        """Return the last events of a type, the newest first; raises NotFoundError."""
        with self._database.reading() as session:
            find_job(session, job_id, lock=False)
            return history.newest(session, job_id, type_=type_, limit=limit)
