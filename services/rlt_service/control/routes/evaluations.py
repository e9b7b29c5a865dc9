"""/v1/evaluations: what a gate compared, figure by figure and question by question."""

from fastapi import APIRouter

from rlt_core.schemas.base import Page
from rlt_core.schemas.teachers import Evaluation, EvaluationRow
from rlt_service.access.scopes import Needs
from rlt_service.container import ServicesDep
from rlt_service.control.routes.parameters import EvaluationId, RowLimit, RowOffset

router = APIRouter(prefix="/v1/evaluations", tags=["evaluations"], dependencies=[Needs("train")])


@router.get("/{evaluation_id}")
def get_evaluation(evaluation_id: EvaluationId, services: ServicesDep) -> Evaluation:
    """Read figures with their intervals."""
    return services.registry.get_evaluation(evaluation_id)


@router.get("/{evaluation_id}/rows")
def get_rows(
    evaluation_id: EvaluationId, services: ServicesDep, offset: RowOffset = 0, limit: RowLimit = 100
) -> Page[EvaluationRow]:
    """Read a window of its rows, in stored order."""
    return services.registry.evaluation_rows(evaluation_id, offset=offset, limit=limit)
