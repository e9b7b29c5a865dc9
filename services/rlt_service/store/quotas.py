"""Own what a project has used, and what is refused at admission. Within the transaction of what is admitted.

The project's row is locked while something of it is admitted: of two that come at once the second sees the first.
"""

from datetime import datetime

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from rlt_core.errors import InvalidRequestError
from rlt_core.schemas.base import now_utc
from rlt_core.schemas.jobs import TERMINAL
from rlt_core.schemas.projects import Quotas, QuotaUse
from rlt_service.store.project_tables import ProjectRow, ProjectUseRow
from rlt_service.store.quota_rules import day_of, exceeded, month_start
from rlt_service.store.tables import DatasetTable, JobRow, VersionRow

HOUR_S = 3600.0


def quotas_of(row: ProjectRow) -> Quotas:
    """Give what a project may use."""
    return Quotas.model_validate({name: getattr(row, name) for name in Quotas.model_fields})


def use_of(session: Session, project_id: str, *, now: datetime) -> QuotaUse:
    """Count what a project has used by now."""
    today = session.get(ProjectUseRow, (project_id, day_of(now)))
    return QuotaUse(
        requests_per_day=0 if today is None else today.requests,
        tokens_per_day=0 if today is None else today.tokens,
        jobs_at_once=live_jobs(session, project_id),
        gpu_hours_per_month=gpu_hours(session, project_id, now=now),
        disk_bytes=disk_bytes(session, project_id),
    )


def admit_job(session: Session, row: JobRow, *, project: str | None) -> None:
    """Refuse a job that its project has no room for; steps of pipelines were admitted with their pipeline.

    Raises QuotaExceededError, InvalidRequestError where GPU-hours are bounded and the job's are not.
    """
    if project is None or (found := session.get(ProjectRow, project, with_for_update=True)) is None:
        return
    now = now_utc()
    if found.jobs_at_once is not None and (live := live_jobs(session, project)) >= found.jobs_at_once:
        raise exceeded(found.name, "jobs_at_once", limit=found.jobs_at_once, used=live, now=now)
    if found.gpu_hours_per_month is not None:
        _admit_hours(session, row, found, limit=found.gpu_hours_per_month, now=now)
    check_room(session, project=project)


def _admit_hours(session: Session, row: JobRow, project: ProjectRow, *, limit: float, now: datetime) -> None:
    if row.max_runtime_s is None:
        raise InvalidRequestError(
            f"the project {project.name!r} may use {limit:g} GPU-hours a month, and max_runtime_s is missing: say how "
            "long the job may run at most (seconds, over all its attempts)",
            param="/max_runtime_s",
        )
    asked = row.max_runtime_s * (row.processes or 1) / HOUR_S
    used = gpu_hours(session, project.id, now=now)
    if used + asked > limit:
        raise exceeded(project.name, "gpu_hours_per_month", limit=limit, used=used, asked=asked, now=now)


def admit_bytes(session: Session, size: int, *, project: str | None) -> None:
    """Refuse to keep what its project has no room for; raises QuotaExceededError."""
    if project is None or (found := session.get(ProjectRow, project, with_for_update=True)) is None:
        return
    if found.disk_bytes is not None and (kept := disk_bytes(session, project)) + size > found.disk_bytes:
        raise exceeded(found.name, "disk_bytes", limit=found.disk_bytes, used=kept, asked=size, now=now_utc())


def check_room(session: Session, *, project: str | None) -> None:
    """Refuse what is still to come where nothing more can be kept; raises QuotaExceededError."""
    if project is None or (found := session.get(ProjectRow, project)) is None:
        return
    if found.disk_bytes is not None and (kept := disk_bytes(session, project)) >= found.disk_bytes:
        raise exceeded(found.name, "disk_bytes", limit=found.disk_bytes, used=kept, now=now_utc())


def live_jobs(session: Session, project_id: str) -> int:
    """Count a project's jobs that have not ended, each pipeline as one."""
    query = select(func.count()).where(
        JobRow.owner == project_id, JobRow.status.not_in(TERMINAL), JobRow.pipeline_id.is_(None)
    )
    return session.scalar(query) or 0


def gpu_hours(session: Session, project_id: str, *, now: datetime) -> float:
    """Sum hours by processes over the jobs that were submitted this month; of a live one the most that it may run."""
    most = func.coalesce(JobRow.max_runtime_s, JobRow.runtime_s)
    over = JobRow.status.in_(TERMINAL) | (JobRow.runtime_s > most)
    seconds = func.sum(case((over, JobRow.runtime_s), else_=most) * func.coalesce(JobRow.processes, 1))
    query = select(seconds).where(
        JobRow.owner == project_id, JobRow.pipeline_id.is_(None), JobRow.created_at >= month_start(now)
    )
    return (session.scalar(query) or 0.0) / HOUR_S


def disk_bytes(session: Session, project_id: str) -> int:
    """Sum what a project's datasets and versions take."""
    datasets = select(func.sum(DatasetTable.size_bytes)).where(DatasetTable.owner == project_id)
    versions = select(func.sum(VersionRow.size_bytes)).where(
        VersionRow.owner == project_id, VersionRow.deleted_at.is_(None)
    )
    return int(session.scalar(datasets) or 0) + int(session.scalar(versions) or 0)
