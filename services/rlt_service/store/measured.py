"""Own what evaluate jobs have measured: an evaluation a model with its rows, stored once, read back, compared."""

from collections.abc import Sequence

from pydantic import TypeAdapter
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from rlt_core.errors import InvalidRequestError, NotFoundError
from rlt_core.measures import MeasuredRow, Values, compare, fault_of_comparison, pass_at_of, values_of
from rlt_core.schemas.base import Page
from rlt_core.schemas.jobs import Job
from rlt_core.schemas.measured import AnswerRow, EvaluationComparison, ModelEvaluation
from rlt_core.schemas.teachers import Evaluation, EvaluationRow
from rlt_service.store import evaluations
from rlt_service.store.database import Database
from rlt_service.store.documents import read_document
from rlt_service.store.job_rows import fenced_job
from rlt_service.store.ownership import visible
from rlt_service.store.tables import EvaluationRowTable, EvaluationTable

_ROWS: dict[str, TypeAdapter[MeasuredRow]] = {"student": TypeAdapter(AnswerRow), "teacher": TypeAdapter(EvaluationRow)}
PARAM = "/compare"
MOST_COMPARED = 8


class MeasuredStore:
    """Evaluations of single models; they lie in the tables of the comparisons, where both versions are the same."""

    def __init__(self, database: Database) -> None:
        """Take a started database."""
        self._database = database

    def keep(self, job: Job, made: Sequence[tuple[ModelEvaluation, Sequence[MeasuredRow]]]) -> list[ModelEvaluation]:
        """Store what a job has measured, all or nothing, fenced by its attempt; what was stored before stays.

        Raises StaleAttemptError.
        """
        with self._database.transaction() as session:
            row = fenced_job(session, job.id, job.attempt)
            known = _of_job(session, job.id)
            if known:
                return known
            for evaluation, rows in made:
                table = EvaluationTable(
                    id=evaluation.id,
                    before=evaluation.model,
                    after=evaluation.model,
                    job_id=job.id,
                    owner=row.owner,
                    body=evaluation.model_dump(mode="json"),
                )
                session.add(table)
                session.flush()
                session.add_all(
                    EvaluationRowTable(evaluation_id=evaluation.id, position=place, body=each.model_dump(mode="json"))
                    for place, each in enumerate(rows)
                )
        return [evaluation for evaluation, _ in made]

    def of_job(self, job_id: str) -> list[ModelEvaluation]:
        """Return what a job has measured, in the order of its models."""
        with self._database.reading() as session:
            return _of_job(session, job_id)

    def get(self, evaluation_id: str) -> Evaluation | ModelEvaluation:
        """Return an evaluation of either kind; raises NotFoundError."""
        with self._database.reading() as session:
            found = _one(session, EvaluationTable.id == evaluation_id)
            return found if found is not None else evaluations.get(session, evaluation_id)

    def rows(self, evaluation_id: str, *, offset: int, limit: int) -> Page[EvaluationRow] | Page[AnswerRow]:
        """Return a window of rows of either kind, in stored order; raises NotFoundError."""
        with self._database.reading() as session:
            found = _one(session, EvaluationTable.id == evaluation_id)
            if found is None or found.role == "teacher":
                return evaluations.rows(session, evaluation_id, offset=offset, limit=limit)
            return evaluations.window(session, evaluation_id, into=AnswerRow, offset=offset, limit=limit)

    def compare(self, names: Sequence[str]) -> EvaluationComparison:
        """Lay evaluations side by side; a version's name stands for its newest one.

        Raises NotFoundError, InvalidRequestError for such as do not measure the same.
        """
        if not 2 <= len(set(names)) == len(names) <= MOST_COMPARED:
            raise InvalidRequestError(
                f"{len(names)} names to compare, some perhaps twice: give from 2 to {MOST_COMPARED} different ones, "
                "as ?compare=eval_…,eval_…",
                param=PARAM,
            )
        with self._database.reading() as session:
            found = [_named(session, name) for name in names]
            fault = fault_of_comparison(found)
            if fault is not None:
                raise InvalidRequestError(f"{fault}: they cannot be laid side by side", param=PARAM)
            values = [_values(session, evaluation) for evaluation in found]
        try:
            return compare(found, values)
        except ValueError as error:
            raise InvalidRequestError(f"{error}: they cannot be compared", param=PARAM) from error


def _of_job(session: Session, job_id: str) -> list[ModelEvaluation]:
    query = select(EvaluationTable).where(EvaluationTable.job_id == job_id, _measures_one())
    rows = session.scalars(query.order_by(EvaluationTable.ordinal))
    return [read_document(ModelEvaluation, row.body) for row in rows]


def _one(session: Session, which: ColumnElement[bool]) -> ModelEvaluation | None:
    query = select(EvaluationTable).where(which, _measures_one(), visible(EvaluationTable.owner))
    row = session.scalar(query.order_by(EvaluationTable.ordinal.desc()).limit(1))
    return read_document(ModelEvaluation, row.body) if row is not None else None


def _named(session: Session, name: str) -> ModelEvaluation:
    is_id = name.startswith("eval_")
    found = _one(session, EvaluationTable.id == name if is_id else EvaluationTable.after == name)
    if found is None:
        what = "an evaluation of a single model" if is_id else "a version that an evaluate job has measured"
        raise NotFoundError(f"{name[:80]!r} is not {what}: name two by id, or by name@number", param=PARAM)
    return found


def _measures_one() -> ColumnElement[bool]:
    return EvaluationTable.before == EvaluationTable.after


def _values(session: Session, evaluation: ModelEvaluation) -> Values:
    query = select(EvaluationRowTable.body).where(EvaluationRowTable.evaluation_id == evaluation.id)
    reader = _ROWS[evaluation.role]
    bodies = session.scalars(query.order_by(EvaluationRowTable.position))
    rows = [reader.validate_python(body, extra="ignore") for body in bodies]
    return values_of(rows, pass_at=pass_at_of(evaluation))
