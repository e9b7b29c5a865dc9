"""Own the life of pipelines: handed in, moved on, one step begun at a time. Each method is one transaction.

No worker claims a pipeline and no lease is on it. Any number of processes may move one on: each write is made with its
row locked, after a look at what is stored by then, so that what another did first is not done again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from rlt_core.errors import RltError
from rlt_core.pipelines import Place, StepState, complete, due
from rlt_core.schemas.base import now_utc
from rlt_core.schemas.jobs import QUEUE, SPEC_VERSION, TERMINAL, AnySpec, Job, JobError, JobStatus, Progress
from rlt_core.schemas.pipelines import PipelineSpec
from rlt_service.store import asking, history
from rlt_service.store.database import Database
from rlt_service.store.documents import read_document
from rlt_service.store.idempotency import JSON_TYPE, keep
from rlt_service.store.job_rows import end_job, find_job, is_due, job_of, move_job, unreadable
from rlt_service.store.job_rules import JobRules
from rlt_service.store.new_jobs import new_row
from rlt_service.store.ownership import caller, owner, project
from rlt_service.store.pipeline_rows import CONDUCTED, pipeline_spec, result_of, states_of, steps_of
from rlt_service.store.quotas import admit_job
from rlt_service.store.retries import tried_again
from rlt_service.store.tables import JobRow, OutboxRow, PipelineStepRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Underway:
    """A pipeline as one transaction has left it, with the steps whose time has come."""

    id: str
    spec: PipelineSpec
    states: Mapping[Place, StepState]
    due: list[Place]


class PipelineStore:
    """All reads and writes of pipelines but what people ask of one, which JobStore does."""

    def __init__(self, database: Database, rules: JobRules | None = None) -> None:
        """Take a started database, and what this installation wants of its jobs."""
        self._database = database
        self._rules = rules or JobRules()

    @tried_again
    def submit(self, spec: PipelineSpec, *, taken_over: Mapping[Place, StepState]) -> Job:
        """Store a pipeline, with the steps of an earlier one whose results hold here too; it is owed no bell."""
        with self._database.transaction() as session:
            row = new_row(spec, queue=CONDUCTED, owner=owner(), submitter=caller())
            admit_job(session, row, project=project())
            session.add(row)
            session.flush()
            for (round_, step), state in taken_over.items():
                session.add(_step_row(row, round_, step, job_id=state.job, taken_over=True))
            row.progress = _progress(spec, taken_over).model_dump()
            history.append(session, row, "queued", {"taken_over": len(taken_over)} if taken_over else None)
            job = job_of(row)
            keep(session, job, status=202, headers={"content-type": JSON_TYPE, "location": f"/v1/jobs/{job.id}"})
            return job

    def earlier(self, pipeline_id: str) -> tuple[Job, Mapping[Place, StepState]]:
        """Give a job and, of a pipeline, the state of each step; raises NotFoundError."""
        with self._database.reading() as session:
            row = find_job(session, pipeline_id, lock=False)
            return job_of(row), states_of(steps_of(session, row.id))

    def live(self) -> list[str]:
        """Give the pipelines that may have something to be done, of those that this version can read."""
        query = select(JobRow.id).where(
            JobRow.kind == CONDUCTED,
            JobRow.status.in_(("queued", "running")),
            JobRow.spec_version <= SPEC_VERSION,
            is_due(),
        )
        with self._database.reading() as session:
            return list(session.scalars(query.order_by(JobRow.priority.desc(), JobRow.ordinal)))

    @tried_again
    def settle(self, pipeline_id: str) -> Underway | None:
        """Take in what has become of the steps, and end or pause the pipeline where its time has come.

        None where it does not run afterwards. Nothing is written where nothing has changed.
        """
        with self._database.transaction() as session:
            row = find_job(session, pipeline_id)
            if row.status not in ("queued", "running"):
                return None
            if row.status == "queued":
                row.started_at = row.started_at or now_utc()
                move_job(session, row, "running", event="started")
            try:
                spec = pipeline_spec(row)
            except ValidationError as error:  # it would be looked at for ever
                for step in asking.live_steps(session, row):
                    asking.cancel(session, step)
                end_job(session, row, "failed", unreadable(error))
                return None
            steps = steps_of(session, row.id)
            row.runtime_s = sum(job.runtime_s for step, job in steps if not step.taken_over)
            _judge(session, row, spec, steps)
            states = states_of(steps)
            _tell_ends(session, row, spec, steps)
            _conclude(session, row, spec, states)
            if row.status != "running" or row.error is not None or row.cancel_requested or row.pause_requested:
                return None
            return Underway(id=row.id, spec=spec, states=states, due=due(spec, states))

    @tried_again
    def begin(self, pipeline_id: str, place: Place, spec: AnySpec) -> Job | None:
        """Hand a step in as a job, with its bell and an event of the pipeline; None where another was first.

        Nor is one begun where the pipeline does not run by now, fails, or is asked to stop.
        """
        round_, step = place
        with self._database.transaction() as session:
            row = find_job(session, pipeline_id)
            stopped = row.status != "running" or row.error is not None or row.cancel_requested or row.pause_requested
            if stopped or session.get(PipelineStepRow, (pipeline_id, round_, step)) is not None:
                return None
            queue = self._rules.queues.get(spec.kind, QUEUE)
            job = new_row(spec, queue=queue, owner=row.owner, submitter=row.submitter, traceparent=row.traceparent)
            job.pipeline_id, job.pipeline_round, job.pipeline_step = row.id, round_, step
            session.add(job)
            session.flush()
            session.add(OutboxRow(queue=job.queue, job_id=job.id, due_at=spec.not_before))
            history.append(session, job, "queued")
            session.add(_step_row(row, round_, step, job_id=job.id))
            history.append(session, row, "step_begun", {"step": step, "round": round_, "kind": job.kind, "job": job.id})
            return job_of(job)

    @tried_again
    def refuse(self, pipeline_id: str, place: Place, error: RltError) -> None:
        """Have a pipeline fail since a step cannot be handed in; steps that run are left to end."""
        round_, step = place
        with self._database.transaction() as session:
            row = find_job(session, pipeline_id)
            known = session.get(PipelineStepRow, (pipeline_id, round_, step))
            if row.status != "running" or row.error is not None or known is not None:
                return
            where = f" ({error.param})" if error.param else ""
            message = f"{step} of round {round_} was refused as {error.code}{where}: {error.detail}"
            history.append(session, row, "step_refused", {"step": step, "round": round_, "message": error.detail})
            _give_up(session, row, JobError(code="step_refused", message=message), cancel=False)


Steps = Sequence[tuple[PipelineStepRow, JobRow]]


def _judge(session: Session, row: JobRow, spec: PipelineSpec, steps: Steps) -> None:
    """Keep why a pipeline fails, once; of one that does, end the steps that wait."""
    if row.error is not None:
        _give_up(session, row, read_document(JobError, row.error), cancel=False)
        return
    if row.cancel_requested:
        return
    failed = [(step, job) for step, job in steps if job.status in TERMINAL and job.status != "succeeded"]
    if failed:
        _give_up(session, row, _failure(*failed[0]), cancel=False)
    elif _is_over(row, spec) and not complete(spec, states_of(steps)):
        _give_up(session, row, _too_long(spec), cancel=True)


def _is_over(row: JobRow, spec: PipelineSpec) -> bool:
    return spec.max_runtime_s is not None and row.runtime_s >= spec.max_runtime_s


def _give_up(session: Session, row: JobRow, error: JobError, *, cancel: bool) -> None:
    """Keep why the pipeline fails; steps that wait are cancelled, those that run end (or, with `cancel`, too)."""
    row.error = error.model_dump(mode="json")
    for step in asking.live_steps(session, row):
        if cancel or step.status != "running":
            asking.cancel(session, step)


def _tell_ends(session: Session, row: JobRow, spec: PipelineSpec, steps: Steps) -> None:
    """Write an event for each step that has ended since the last look."""
    for step, job in steps:
        if step.ended or job.status not in TERMINAL:
            continue
        step.ended = True
        state = states_of([(step, job)])[(step.round, step.step)]
        where = {"step": step.step, "round": step.round, "job": job.id, "status": job.status}
        history.append(session, row, "step_ended", where | dict(state.made))
        row.progress = _progress(spec, states_of(steps)).model_dump()
        history.append(session, row, "progress", row.progress)


def _conclude(session: Session, row: JobRow, spec: PipelineSpec, states: Mapping[Place, StepState]) -> None:
    """End or pause a pipeline none of whose steps runs any more, where it was asked to or has nothing to do."""
    live = [state.status for state in states.values() if state.status not in TERMINAL]
    if row.cancel_requested and not live:
        _end(session, row, "cancelled", None)
    elif row.error is not None and not live:
        _end(session, row, "failed", read_document(JobError, row.error))
    elif complete(spec, states):
        _end(session, row, "succeeded", None)
    elif row.pause_requested and all(status == "paused" for status in live):
        move_job(session, row, "paused")


def _end(session: Session, row: JobRow, status: JobStatus, error: JobError | None) -> None:
    row.result = result_of(session, row).model_dump(mode="json")
    end_job(session, row, status, error)


def _step_row(pipeline: JobRow, round_: int, step: str, *, job_id: str, taken_over: bool = False) -> PipelineStepRow:
    return PipelineStepRow(
        pipeline_id=pipeline.id, round=round_, step=step, job_id=job_id, taken_over=taken_over, ended=taken_over
    )


def _progress(spec: PipelineSpec, states: Mapping[Place, StepState]) -> Progress:
    done = [place for place, state in states.items() if state.status in TERMINAL]
    rounds = [round_ for round_, _ in states] or [1]
    return Progress(step=len(done), total=len(spec.steps) * spec.rounds, metrics={"round": float(max(rounds))})


def _failure(step: PipelineStepRow, job: JobRow) -> JobError:
    name = f"{step.step} of round {step.round}, {job.id},"
    if job.status == "cancelled":
        return JobError(code="step_cancelled", message=f"{name} was cancelled, and what comes after needs it")
    error = read_document(JobError, job.error or {"code": "trainer_failed", "message": "it did not say why"})
    return JobError(
        code="step_failed",
        message=f"{name} failed with {error.code}: {error.message}",
        retryable=error.retryable,
        log_tail=error.log_tail,
    )


def _too_long(spec: PipelineSpec) -> JobError:
    message = f"max_runtime_s = {spec.max_runtime_s:g} passed over all steps; ask for more, or for less work"
    return JobError(code="max_runtime", message=message)
