"""/v1/explain and its batch."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field, SkipValidation

from rlt_core.schemas.base import WireModel
from rlt_core.schemas.explain import ExplainBatchResponse, ExplainRequest, ExplainResponse
from rlt_service.batches import answer_items
from rlt_service.container import ServicesDep
from rlt_service.disconnects import while_connected
from rlt_service.idempotency import NotTwice
from rlt_service.json_bodies import JsonRoute
from rlt_service.request_ids import request_id_of
from rlt_service.use_cases import explainer_of
from rlt_service.version_headers import stamp

router = APIRouter(tags=["explain"], route_class=JsonRoute)


class ExplainItems(WireModel):
    """Many requests at once; each is validated and answered for itself."""

    items: Annotated[list[SkipValidation[ExplainRequest]], Field(min_length=1, max_length=256)]


@router.post("/explain", include_in_schema=False, dependencies=[NotTwice])
@router.post("/v1/explain", dependencies=[NotTwice])
async def explain(body: ExplainRequest, request: Request, response: Response, services: ServicesDep) -> ExplainResponse:
    """Let a teacher explain how a question leads to its solution."""
    answer = await while_connected(request, explainer_of(services).explain(body))
    _stamp(response, [answer])
    return answer


@router.post("/v1/explain/batch", dependencies=[NotTwice])
async def explain_batch(
    body: ExplainItems, request: Request, response: Response, services: ServicesDep
) -> ExplainBatchResponse:
    """Explain many questions; a bad item fails alone."""
    explainer = explainer_of(services)
    answers = await while_connected(
        request,
        answer_items(body.items, model=ExplainRequest, answer=explainer.explain, request_id=request_id_of(request)),
    )
    _stamp(response, [answer for answer in answers if isinstance(answer, ExplainResponse)])
    return ExplainBatchResponse(data=answers)


def _stamp(response: Response, answers: list[ExplainResponse]) -> None:
    students = [answer.score.student.version for answer in answers if answer.score is not None]
    stamp(response, teachers=[answer.teacher.version for answer in answers], students=students)
