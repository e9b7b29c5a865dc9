"""Own what a job has registered, for its end where the attempt that registered it did not live to say so."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from rlt_core.collected import dataset_of
from rlt_core.schemas.jobs import JobResult
from rlt_service.store.tables import DatasetTable, EvaluationTable, JobRow, VersionRow


def note_registered(session: Session, row: JobRow) -> None:
    """Let a job that ends otherwise than as succeeded name what it has registered all the same.

    Between registration and end lie a promotion, or the death of a worker: what comes then, a cancellation or one crash
    too many, ends the job and takes nothing back. After the end nothing is registered any more: the fence sees to that.
    """
    made = _registered(session, row)
    if row.result is None and made is not None:
        row.result = made.model_dump(mode="json")


def _registered(session: Session, row: JobRow) -> JobResult | None:
    version = session.scalar(select(VersionRow).where(VersionRow.job_id == row.id))
    dataset = session.scalar(select(DatasetTable.id).where(DatasetTable.id == dataset_of(row.id)))
    of_job = select(EvaluationTable.id).where(EvaluationTable.job_id == row.id)
    evaluations = list(session.scalars(of_job.order_by(EvaluationTable.ordinal)))
    if version is None and dataset is None and not evaluations:
        return None
    name = None if version is None else f"{version.name}@{version.number}"
    role = None if version is None else version.role
    return JobResult(
        teacher=name if role == "teacher" else None,
        student=name if role == "student" else None,
        dataset=dataset,
        evaluation=evaluations[0] if evaluations else None,
        evaluations=evaluations if row.kind == "evaluate" else [],
    )
