"""/v1/evaluations: what versions came to, figure by figure and question by question, alone and side by side."""

from typing import Annotated

from fastapi import APIRouter, Query

from rlt_core.schemas.base import Page
from rlt_core.schemas.measured import AnswerRow, EvaluationComparison, ModelEvaluation
from rlt_core.schemas.teachers import Evaluation, EvaluationRow
from rlt_service.access.scopes import Needs
from rlt_service.container import ServicesDep
from rlt_service.control.routes.parameters import EvaluationId, RowLimit, RowOffset
from rlt_service.openapi import refusals
from rlt_service.store.measured import MeasuredStore

router = APIRouter(prefix="/v1/evaluations", tags=["evaluations"], dependencies=[Needs("train")])


@router.get("", responses=refusals(404))
def compare_evaluations(
    services: ServicesDep,
    compare: Annotated[
        str,
        Query(min_length=1, max_length=1000, description="Ids, or versions (their newest evaluation), with commas."),
    ],
) -> EvaluationComparison:
    """Lay evaluations side by side, paired by question, with intervals."""
    return MeasuredStore(services.database).compare([name.strip() for name in compare.split(",")])


@router.get("/{evaluation_id}")
def get_evaluation(evaluation_id: EvaluationId, services: ServicesDep) -> Evaluation | ModelEvaluation:
    """Read figures with their intervals."""
    return MeasuredStore(services.database).get(evaluation_id)


@router.get("/{evaluation_id}/rows")
def get_rows(
    evaluation_id: EvaluationId, services: ServicesDep, offset: RowOffset = 0, limit: RowLimit = 100
) -> Page[EvaluationRow] | Page[AnswerRow]:
    """Read a window of its rows, in stored order: explanations with rewards, or answers with verdicts."""
    return MeasuredStore(services.database).rows(evaluation_id, offset=offset, limit=limit)
