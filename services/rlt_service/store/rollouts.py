"""Own which policies of a job can be called: published in order, the newest kept. Works in a given session."""

from collections.abc import Mapping

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from rlt_core.artifacts import Kind
from rlt_core.errors import ConflictError
from rlt_core.schemas.rollouts import RolloutPublishRequest
from rlt_service.store.tables import JobRow, RolloutRow

KEPT: Mapping[Kind, int] = {"adapter": 2, "full": 1}
"""Newest steps of a job whose policies can be called; older ones are collected at the next publication.

Of all weights two lie on disk even so: the one that is served, and the one that is being written.
"""


def policy_kind(job: JobRow) -> Kind:
    """Tell what a job's policies are: adapters, or all weights where its spec says `"lora": null`."""
    return "full" if "lora" in job.spec and job.spec["lora"] is None else "adapter"


def was_published(session: Session, job_id: str, request: RolloutPublishRequest) -> bool:
    """Tell whether this very policy is callable already; raises ConflictError for another one, or one behind it."""
    row = session.get(RolloutRow, (job_id, request.attempt, request.step))
    if row is not None and row.sha256 != request.sha256:
        raise ConflictError(
            f"Step {request.step} was published with sha256 {row.sha256}, and now {request.sha256} is announced: a "
            "published policy never changes. Publish the changed one as the next step.",
            param="/sha256",
        )
    if row is not None:
        return True
    steps = select(func.max(RolloutRow.step)).where(RolloutRow.job_id == job_id, RolloutRow.attempt == request.attempt)
    newest = session.scalar(steps)
    if newest is not None and request.step < newest:
        raise ConflictError(
            f"Step {request.step} lies behind step {newest}, which this attempt has published: policies are published "
            "in order. Publish a step after it.",
            param="/step",
        )
    return False


def collect(session: Session, job_id: str, *, keep: int) -> list[RolloutRow]:
    """Delete all but the newest rows of a job; return what was deleted."""
    query = select(RolloutRow).where(RolloutRow.job_id == job_id)
    rows = list(session.scalars(query.order_by(RolloutRow.attempt.desc(), RolloutRow.step.desc())))
    for row in rows[keep:]:
        session.delete(row)
    return rows[keep:]
