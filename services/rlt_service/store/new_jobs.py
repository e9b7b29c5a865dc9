"""Own how a job comes into the table: row, bell and first event, in the caller's transaction."""

from typing import Any

from sqlalchemy.orm import Session

from rlt_core.schemas.base import new_id, now_utc
from rlt_core.schemas.jobs import QUEUE, SPEC_VERSION, AnySpec, Progress, SubmittedSpec
from rlt_core.schemas.pipelines import PipelinePlace, PipelineSpec
from rlt_service.store import history
from rlt_service.store.job_rows import total_of
from rlt_service.store.job_rules import JobRules
from rlt_service.store.tables import JobRow, OutboxRow


def enqueue(
    session: Session, spec: AnySpec, *, rules: JobRules, owner: str | None, place: PipelinePlace | None = None
) -> JobRow:
    """Add a job that a worker shall run; `place` says whose step it is."""
    row = new_row(spec, queue=rules.queues.get(spec.kind, QUEUE), owner=owner)
    if place is not None:
        row.pipeline_id, row.pipeline_round, row.pipeline_step = place.job, place.round, place.step
    session.add(row)
    session.flush()
    session.add(OutboxRow(queue=row.queue, job_id=row.id, due_at=spec.not_before))
    history.append(session, row, "queued")
    return row


def new_row(spec: SubmittedSpec, *, queue: str, owner: str | None) -> JobRow:
    """Make the row of a job that waits."""
    return JobRow(
        id=new_id("job"),
        kind=spec.kind,
        name=spec.name,
        queue=queue,
        status="queued",
        priority=spec.priority,
        not_before=spec.not_before,
        created_at=now_utc(),
        attempt=0,
        beat=0,
        cancel_requested=False,
        pause_requested=False,
        runtime_s=0.0,
        crashes=0,
        progress_attempt=0,
        best_step=0,
        last_seq=0,
        owner=owner,
        spec_version=SPEC_VERSION,
        spec=_stored(spec),
        progress=Progress(total=total_of(spec)).model_dump(),
    )


def _stored(spec: SubmittedSpec) -> dict[str, Any]:
    # What a step's spec leaves out must stay left out: checks tell what was asked for from what was not.
    return spec.model_dump(mode="json", exclude_unset=isinstance(spec, PipelineSpec))
