"""Own stored evaluations and their rows. Works inside a given session."""

from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from rlt_core.errors import NotFoundError
from rlt_core.schemas.base import Page
from rlt_core.schemas.teachers import Evaluation, EvaluationRow
from rlt_service.store.documents import read_document
from rlt_service.store.ownership import visible
from rlt_service.store.tables import EvaluationRowTable, EvaluationTable
from rlt_service.store.version_owners import maker

RowT = TypeVar("RowT", bound=BaseModel)


def save(session: Session, evaluation: Evaluation, rows: Sequence[EvaluationRow]) -> None:
    """Store an evaluation with its rows."""
    session.add(
        EvaluationTable(
            id=evaluation.id,
            before=evaluation.before,
            after=evaluation.after,
            job_id=evaluation.job,
            owner=maker(session, evaluation.job),
            body=evaluation.model_dump(mode="json"),
        )
    )
    session.flush()
    session.add_all(
        EvaluationRowTable(evaluation_id=evaluation.id, position=position, body=row.model_dump(mode="json"))
        for position, row in enumerate(rows)
    )


def get(session: Session, evaluation_id: str) -> Evaluation:
    """Return a comparison of two versions; raises NotFoundError, also for the evaluation of a single one."""
    row = find(session, evaluation_id)
    if row.before == row.after:
        raise NotFoundError(
            f"{evaluation_id} measured {row.after} alone, and compares it with no other version.", param="/evaluation"
        )
    return read_document(Evaluation, row.body)


def find(session: Session, evaluation_id: str) -> EvaluationTable:
    """Return the row of an evaluation of either kind; raises NotFoundError."""
    row = session.scalar(
        select(EvaluationTable).where(EvaluationTable.id == evaluation_id, visible(EvaluationTable.owner))
    )
    if row is None:
        raise NotFoundError(f"There is no evaluation {evaluation_id!r}.", param="/evaluation")
    return row


def latest(session: Session, *, before: str, after: str, student: str | None = None) -> Evaluation | None:
    """Return the newest comparison of exactly these two versions, by one student or by any."""
    query = select(EvaluationTable).where(
        EvaluationTable.before == before,
        EvaluationTable.after == after,
        EvaluationTable.before != EvaluationTable.after,
        visible(EvaluationTable.owner),
    )
    if student is not None:
        query = query.where(EvaluationTable.body["student"].as_string() == student)
    row = session.scalar(query.order_by(EvaluationTable.ordinal.desc()).limit(1))
    return read_document(Evaluation, row.body) if row is not None else None


def of_job(session: Session, job_id: str) -> Evaluation | None:
    """Return the evaluation that a job made."""
    two = EvaluationTable.before != EvaluationTable.after
    row = session.scalar(select(EvaluationTable).where(EvaluationTable.job_id == job_id, two).limit(1))
    return read_document(Evaluation, row.body) if row is not None else None


def rows(session: Session, evaluation_id: str, *, offset: int, limit: int) -> Page[EvaluationRow]:
    """Return a window of rows in stored order."""
    return window(session, evaluation_id, into=EvaluationRow, offset=offset, limit=limit)


def window(session: Session, evaluation_id: str, *, into: type[RowT], offset: int, limit: int) -> Page[RowT]:
    """Return a window of rows in stored order, read as `into`; raises NotFoundError."""
    find(session, evaluation_id)
    mine = EvaluationRowTable.evaluation_id == evaluation_id
    total = session.scalar(select(func.count()).select_from(EvaluationRowTable).where(mine)) or 0
    query = select(EvaluationRowTable).where(mine, EvaluationRowTable.position >= offset)
    found = list(session.scalars(query.order_by(EvaluationRowTable.position).limit(limit)))
    return Page[into](
        data=[read_document(into, row.body) for row in found],
        has_more=offset + len(found) < total,
        last_id=str(offset + len(found)) if found else None,
    )


def all_rows(session: Session, evaluation_id: str) -> list[EvaluationRow]:
    """Return every row in stored order; raises NotFoundError."""
    get(session, evaluation_id)
    query = select(EvaluationRowTable).where(EvaluationRowTable.evaluation_id == evaluation_id)
    return [
        read_document(EvaluationRow, row.body) for row in session.scalars(query.order_by(EvaluationRowTable.position))
    ]


def naming(session: Session, version: str) -> list[str]:
    """Return ids of evaluations that compared this version."""
    compared = (EvaluationTable.after == version) | (EvaluationTable.before == version)
    query = select(EvaluationTable.id).where(compared, visible(EvaluationTable.owner))
    return list(session.scalars(query.order_by(EvaluationTable.ordinal)))
