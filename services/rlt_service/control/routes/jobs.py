"""/v1/jobs: list, read, cancel, pause, resume; what they did; policies of a job in training."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse

from rlt_core.schemas.base import Page
from rlt_core.schemas.jobs import (
    Checkpoint,
    Job,
    JobMetrics,
    JobStatus,
)
from rlt_core.schemas.rollouts import RolloutPublished, RolloutPublishRequest
from rlt_service.access.scopes import Needs
from rlt_service.container import ServicesDep
from rlt_service.control.routes.parameters import JobId, KindFilter, PageAfter, PageLimit, PipelineFilter
from rlt_service.control.routes.wiring import reports_of, wake_workers
from rlt_service.idempotency import Once
from rlt_service.json_bodies import JsonRoute

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], route_class=JsonRoute, dependencies=[Needs("train")])


@router.get("")
def list_jobs(
    services: ServicesDep,
    limit: PageLimit = 20,
    after: PageAfter = None,
    status: JobStatus | None = None,
    kind: KindFilter | None = None,
    pipeline: PipelineFilter = None,
) -> Page[Job]:
    """List jobs, newest first; with `pipeline` those that it has handed in."""
    return services.jobs.list(limit=limit, after=after, status=status, kind=kind, pipeline=pipeline)


@router.get("/{job_id}")
def get_job(job_id: JobId, services: ServicesDep) -> Job:
    """Read a job."""
    return services.jobs.get(job_id)


@router.post("/{job_id}/cancel", dependencies=[Once])
def cancel_job(job_id: JobId, services: ServicesDep) -> Job:
    """Ask a job, and of a pipeline each step, to end; repeatable."""
    job = services.jobs.cancel(job_id)
    wake_workers(services)
    return job


@router.post("/{job_id}/pause", dependencies=[Once])
def pause_job(job_id: JobId, services: ServicesDep) -> Job:
    """Hold a queued job back; repeatable."""
    return services.jobs.pause(job_id)


@router.post("/{job_id}/resume", dependencies=[Once])
def resume_job(job_id: JobId, services: ServicesDep) -> Job:
    """Put a paused job back into the queue; repeatable."""
    job = services.jobs.resume(job_id)
    wake_workers(services)
    return job


@router.get("/{job_id}/metrics")
def job_metrics(
    job_id: JobId,
    services: ServicesDep,
    after_step: Annotated[int, Query(ge=-1, le=2**53)] = -1,
    max_points: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> JobMetrics:
    """Read the series of a job by step."""
    return reports_of(services).metrics(job_id, after_step=after_step, max_points=max_points)


@router.get("/{job_id}/logs", response_class=PlainTextResponse)
def job_log(
    job_id: JobId, services: ServicesDep, max_bytes: Annotated[int, Query(ge=1, le=2**20)] = 2**16
) -> PlainTextResponse:
    """Read the end of what the last attempt's trainer wrote."""
    return PlainTextResponse(reports_of(services).log_tail(job_id, max_bytes=max_bytes))


@router.get("/{job_id}/checkpoints")
def job_checkpoints(job_id: JobId, services: ServicesDep) -> Page[Checkpoint]:
    """List the checkpoints of a job, newest first."""
    return reports_of(services).checkpoints(job_id)


@router.post("/{job_id}/rollouts", dependencies=[Once])
def publish_rollout(job_id: JobId, request: RolloutPublishRequest, services: ServicesDep) -> RolloutPublished:
    """Make the policy of one step callable under its exact name; for the job's own trainer."""
    return services.registry.publish_rollout(job_id, request)
