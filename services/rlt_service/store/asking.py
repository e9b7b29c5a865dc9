"""Own what people ask of a job: to cancel, to pause, to resume. What is asked of a pipeline is asked of its steps too.

Whoever locks several rows locks the pipeline's first.
"""

from collections.abc import Iterator

from sqlalchemy import select
from sqlalchemy.orm import Session

from rlt_core.errors import JobStateError
from rlt_core.schemas.jobs import TERMINAL
from rlt_service.store import history
from rlt_service.store.job_rows import move_job
from rlt_service.store.pipeline_rows import CONDUCTED, result_of
from rlt_service.store.registered import note_registered
from rlt_service.store.tables import JobRow, OutboxRow


def cancel(session: Session, row: JobRow) -> None:
    """End a job at once while nobody runs it, else ask its supervisor; raises JobStateError once it has ended."""
    if row.status == "running":
        if not row.cancel_requested:
            row.cancel_requested = True
            history.append(session, row, "cancel_requested")
    elif row.status != "cancelled":
        if row.kind == CONDUCTED:
            row.result = result_of(session, row).model_dump(mode="json")
        else:
            note_registered(session, row)
        move_job(session, row, "cancelled")
    for step in live_steps(session, row):
        cancel(session, step)


def pause(session: Session, row: JobRow) -> None:
    """Hold a job back at once while nobody runs it, else ask its supervisor, who saves first; raises JobStateError."""
    if row.status == "running" and row.cancel_requested:
        raise JobStateError(f"Job {row.id} is being cancelled.", extra={"status": row.status})
    if row.status == "running":
        if not row.pause_requested:
            row.pause_requested = True
            history.append(session, row, "pause_requested")
    elif row.status != "paused":
        move_job(session, row, "paused")
    for step in live_steps(session, row):
        if not step.cancel_requested:
            pause(session, step)


def resume(session: Session, row: JobRow) -> None:
    """Put a paused job back into the queue, or take back that it is to pause; raises JobStateError."""
    if row.status == "running" and row.pause_requested:
        row.pause_requested = False
        history.append(session, row, "pause_withdrawn")
    elif row.status not in ("queued", "running"):
        row.error = None
        move_job(session, row, "queued")
        if row.kind != CONDUCTED:
            session.add(OutboxRow(queue=row.queue, job_id=row.id, due_at=row.not_before))
    for step in live_steps(session, row):
        resume(session, step)


def live_steps(session: Session, row: JobRow) -> Iterator[JobRow]:
    """Give the steps of a pipeline that have not ended, locked; none of any other job."""
    if row.kind != CONDUCTED:
        return
    query = select(JobRow).where(JobRow.pipeline_id == row.id, JobRow.status.not_in(TERMINAL))
    locked = query.order_by(JobRow.ordinal).with_for_update()
    # What this session has read of them before is as old as that look.
    yield from list(session.scalars(locked, execution_options={"populate_existing": True}))
