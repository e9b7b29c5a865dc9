"""Own what rows say of a pipeline: the state of each step, what it has all come to, what is still needed."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from rlt_core.pipelines import Place, StepState
from rlt_core.schemas.jobs import TERMINAL, JobResult, JobStatus
from rlt_core.schemas.pipelines import Output, PipelineSpec, StepResult
from rlt_service.store.tables import JobRow, PipelineStepRow

CONDUCTED = "pipeline"
"""The kind of job that no worker runs."""
OUTPUTS: tuple[Output, ...] = ("teacher", "student", "dataset", "evaluation")


def for_workers() -> ColumnElement[bool]:
    """Select jobs that workers run: they have queues, bells and leases, a pipeline has none."""
    return JobRow.kind != CONDUCTED


def steps_of(session: Session, pipeline_id: str) -> list[tuple[PipelineStepRow, JobRow]]:
    """Give the steps that have been handed in or taken over, each with its job, in the order in which they were."""
    query = (
        select(PipelineStepRow, JobRow)
        .join(JobRow, JobRow.id == PipelineStepRow.job_id)
        .where(PipelineStepRow.pipeline_id == pipeline_id)
        .order_by(PipelineStepRow.round, JobRow.ordinal)
    )
    return [(step, job) for step, job in session.execute(query)]


def states_of(steps: Sequence[tuple[PipelineStepRow, JobRow]]) -> dict[Place, StepState]:
    """Say how each step stands and what it has made."""
    return {
        (step.round, step.step): StepState(job=job.id, status=cast(JobStatus, job.status), made=_made(job))
        for step, job in steps
    }


def result_of(session: Session, pipeline: JobRow) -> JobResult:
    """Sum a pipeline up: its steps, what they have made last, and what its own ones have cost."""
    steps = steps_of(session, pipeline.id)
    cost: dict[str, float] = {}
    last: dict[Output, str] = {}
    for step, job in steps:
        last |= _made(job)
        if not step.taken_over:
            spent: dict[str, float] = (job.result or {}).get("cost") or {}
            for name, value in spent.items():
                cost[name] = cost.get(name, 0.0) + value
    return JobResult(
        **cast("dict[str, Any]", last),
        cost=cost,
        steps=[
            StepResult(
                step=step.step,
                round=step.round,
                kind=job.kind,
                job=job.id,
                status=cast(JobStatus, job.status),
                taken_over=step.taken_over,
                **cast("dict[str, Any]", _made(job)),
            )
            for step, job in steps
        ],
    )


def live_pipelines(session: Session) -> Iterator[JobRow]:
    """Give the pipelines that have not ended, the oldest first."""
    query = select(JobRow).where(JobRow.kind == CONDUCTED, JobRow.status.not_in(TERMINAL))
    yield from session.scalars(query.order_by(JobRow.ordinal))


def needed_jobs(session: Session, pipeline: JobRow) -> set[str]:
    """Give the jobs whose results a pipeline that has not ended may still use."""
    query = select(PipelineStepRow.job_id).where(PipelineStepRow.pipeline_id == pipeline.id)
    return set(session.scalars(query))


def step_specs(pipeline: JobRow) -> Iterator[dict[str, Any]]:
    """Give the specs of a pipeline's steps as they are stored."""
    for step in pipeline.spec["steps"]:
        yield step["spec"]


def pipeline_spec(pipeline: JobRow) -> PipelineSpec:
    """Read a pipeline's spec; raises ValidationError where the rules were others when it was stored."""
    return PipelineSpec.model_validate(pipeline.spec)


def _made(job: JobRow) -> dict[Output, str]:
    result = job.result or {}
    return {name: result[name] for name in OUTPUTS if result.get(name)}
