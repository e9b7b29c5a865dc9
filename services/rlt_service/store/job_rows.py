"""Own what a row of the jobs table means: the job that people see, the fence, and the one way to change its status."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

from pydantic import ValidationError
from sqlalchemy import ColumnElement, and_, delete, or_, select
from sqlalchemy.orm import Session

from rlt_core.collected import dataset_of
from rlt_core.errors import NotFoundError, StaleAttemptError
from rlt_core.schemas.base import now_utc
from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.evaluate import EvaluateSpec
from rlt_core.schemas.jobs import (
    SPECS,
    SUBMITTED_SPEC,
    TERMINAL,
    DistillSpec,
    Job,
    JobError,
    JobKind,
    JobResult,
    JobStatus,
    Progress,
    RlSpec,
    RlvrSpec,
    SubmittedSpec,
    WarmupSpec,
)
from rlt_core.schemas.pipelines import PipelinePlace, PipelineSpec
from rlt_service.store import history
from rlt_service.store.documents import read_document
from rlt_service.store.ownership import visible
from rlt_service.store.pipeline_rows import CONDUCTED, needed_jobs, step_specs
from rlt_service.store.registered import note_registered
from rlt_service.store.tables import JobRow, OutboxRow
from rlt_service.store.transitions import check_transition

LONGEST_PAUSE_S = 60.0
"""That a job which ran is kept from running again."""


def is_due() -> ColumnElement[bool]:
    """Select jobs whose time has come; one that ran only pauses: beyond the longest pause, the clock was set back."""
    now = now_utc()
    went_back = and_(JobRow.attempt > 0, JobRow.not_before > now + timedelta(seconds=LONGEST_PAUSE_S))
    return or_(JobRow.not_before.is_(None), JobRow.not_before <= now, went_back)


def job_of(row: JobRow) -> Job:
    """Give the job as people see it; a spec that today's rules would refuse is shown as it was stored."""
    fields: dict[str, Any] = {
        "id": row.id,
        "kind": cast(JobKind, row.kind),
        "name": row.name,
        "status": cast(JobStatus, row.status),
        "created_at": row.created_at,
        "started_at": row.started_at,
        "finished_at": row.finished_at,
        "attempt": row.attempt,
        "runtime_s": row.runtime_s,
        "cancel_requested": row.cancel_requested,
        "pause_requested": row.pause_requested,
        "progress": read_document(Progress, row.progress),
        "result": read_document(JobResult, row.result) if row.result is not None else None,
        "error": read_document(JobError, row.error) if row.error is not None else None,
    }
    fields["output"] = dataset_of(row.id) if row.kind == "collect" else None
    if row.pipeline_id is not None:
        fields["pipeline"] = PipelinePlace.model_validate(
            {"job": row.pipeline_id, "step": row.pipeline_step, "round": row.pipeline_round}
        )
    try:
        return Job(**fields, spec=spec_of(row))
    except ValidationError:
        spec = {**SPECS, CONDUCTED: PipelineSpec}.get(row.kind, WarmupSpec).model_construct(**row.spec)
        return Job.model_construct(**fields, spec=spec)


def total_of(spec: SubmittedSpec) -> int | None:
    """Give the steps that a spec asks for, where it says how many."""
    match spec:
        case RlSpec() | RlvrSpec():
            return spec.steps
        case WarmupSpec() | DistillSpec():
            return spec.max_steps
        case CollectSpec() | EvaluateSpec():
            return None
        case PipelineSpec():
            return len(spec.steps) * spec.rounds


def spec_of(row: JobRow) -> SubmittedSpec:
    """Read the stored spec; raises ValidationError where the rules were others when it was stored."""
    return SUBMITTED_SPEC.validate_python(row.spec)


def find_job(session: Session, job_id: str, *, lock: bool = True) -> JobRow:
    """Return a job's row; raises NotFoundError."""
    query = select(JobRow).where(JobRow.id == job_id, visible(JobRow.owner))
    row = session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFoundError(f"There is no job {job_id!r}; GET /v1/jobs lists them.")
    return row


def fenced_job(session: Session, job_id: str, attempt: int, *, lock: bool = True) -> JobRow:
    """Return the row of a running job that belongs to `attempt`; raises NotFoundError, StaleAttemptError."""
    row = find_job(session, job_id, lock=lock)
    if row.status != "running" or row.attempt != attempt:
        raise StaleAttemptError(
            f"Attempt {attempt} no longer owns job {job_id}, which is {row.status} at attempt {row.attempt}: "
            "stop writing and end.",
            extra={"status": row.status, "attempt": row.attempt},
        )
    return row


def move_job(
    session: Session, row: JobRow, status: JobStatus, data: Mapping[str, Any] | None = None, *, event: str | None = None
) -> None:
    """Change the status: the only place that does."""
    check_transition(row.id, cast(JobStatus, row.status), status)
    row.status = status
    if status != "running":
        row.pause_requested = False
    if status in TERMINAL:
        row.finished_at = now_utc()
    if status in TERMINAL or status == "paused":
        session.execute(delete(OutboxRow).where(OutboxRow.job_id == row.id))
    history.append(session, row, event or status, data)


def end_job(session: Session, row: JobRow, status: JobStatus, error: JobError | None) -> None:
    """Bring a job to its end, with one event that says how."""
    if status != "succeeded":
        note_registered(session, row)
    row.error = error.model_dump(mode="json") if error is not None else None
    data = {"result": row.result, "error": row.error}
    move_job(session, row, status, {key: value for key, value in data.items() if value is not None})


def jobs_using(session: Session, dataset_id: str) -> Sequence[str]:
    """Find live jobs whose spec names a dataset, as its rows or as a split, and pipelines that may come to use it."""
    rows = session.scalars(select(JobRow).where(JobRow.status.not_in(TERMINAL)))
    return [row.id for row in rows if dataset_id in _datasets(session, row)]


def _datasets(session: Session, row: JobRow) -> set[str]:
    if row.kind != CONDUCTED:
        return _named_datasets(row.spec)
    named = [_named_datasets(spec) for spec in step_specs(row)]
    made = {dataset_of(job_id) for job_id in needed_jobs(session, row)}
    return made.union(row.spec.get("start", {}).values(), *named)


def _named_datasets(spec: Mapping[str, Any]) -> set[str]:
    return {spec["dataset"], *(value for value in spec.get("splits", {}).values() if isinstance(value, str))}


def unreadable(error: ValidationError) -> JobError:
    """Say why a spec that was stored under other rules ends its job."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = "/" + "/".join(str(part) for part in first["loc"])
    return JobError(
        code="invalid",
        message=f"The stored spec breaks a rule that this version has ({where}: {first['msg']}); submit it anew.",
    )
