"""/v1/explain, whole or as a stream, and its batch."""

from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import Field, SkipValidation

from rlt_core.errors import InvalidRequestError
from rlt_core.schemas.base import WireModel
from rlt_core.schemas.explain import ExplainBatchResponse, ExplainRequest, ExplainResponse
from rlt_service.batches import answer_items
from rlt_service.calls import CallDep
from rlt_service.container import ServicesDep
from rlt_service.idempotency import Once, refuse_key
from rlt_service.json_bodies import JsonRoute
from rlt_service.openapi import refusals
from rlt_service.request_ids import request_id_of
from rlt_service.teacher.event_stream import EVENT_STREAM, streaming
from rlt_service.use_cases import explainer_of
from rlt_service.version_headers import stamp

router = APIRouter(tags=["explain"], route_class=JsonRoute)


class ExplainItems(WireModel):
    """Many requests at once; each is validated and answered for itself."""

    items: Annotated[list[SkipValidation[ExplainRequest]], Field(min_length=1, max_length=256)]


@router.post("/explain", include_in_schema=False, response_model=ExplainResponse, dependencies=[Once])
@router.post(
    "/v1/explain",
    response_model=ExplainResponse,
    dependencies=[Once],
    responses={200: {"content": {EVENT_STREAM: {}}}, **refusals(404, 429)},
)
async def explain(
    body: ExplainRequest, request: Request, response: Response, services: ServicesDep, call: CallDep
) -> ExplainResponse | Response:
    """Let a teacher explain how a question leads to its solution; with `stream`, in server-sent events."""
    explainer = explainer_of(services)
    if body.stream:
        refuse_key(request.headers, of="stream")
        return await streaming(call.stream(explainer.stream(body)), request_id=request_id_of(request))
    answer = await call.answer(explainer.explain(body))
    _stamp(response, [answer])
    return answer


@router.post("/v1/explain/batch", dependencies=[Once], responses=refusals(429))
async def explain_batch(
    body: ExplainItems, request: Request, response: Response, services: ServicesDep, call: CallDep
) -> ExplainBatchResponse:
    """Explain many questions; a bad item fails alone."""
    refuse_key(request.headers, of="batches")
    explainer = explainer_of(services)

    async def whole(item: ExplainRequest) -> ExplainResponse:
        if item.stream:
            raise InvalidRequestError(
                "stream is true in an item of a batch, whose answers come whole: leave it out, or send the item alone "
                "to /v1/explain",
                param="/stream",
            )
        return await explainer.explain(item)

    answers = await call.answer(
        answer_items(body.items, model=ExplainRequest, answer=whole, request_id=request_id_of(request))
    )
    _stamp(response, [answer for answer in answers if isinstance(answer, ExplainResponse)])
    return ExplainBatchResponse(data=answers)


def _stamp(response: Response, answers: list[ExplainResponse]) -> None:
    students = [answer.score.student.version for answer in answers if answer.score is not None]
    stamp(response, teachers=[answer.teacher.version for answer in answers], students=students)
