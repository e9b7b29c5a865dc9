"""/v1/chat/completions, whole or as a stream."""

from fastapi import APIRouter, Request, Response

from rlt_core.schemas.chat import ChatCompletion, ChatRequest
from rlt_service.access.scopes import Needs
from rlt_service.calls import CallDep
from rlt_service.chat.event_stream import streaming
from rlt_service.container import ServicesDep
from rlt_service.event_streams import EVENT_STREAM
from rlt_service.idempotency import Once, refuse_key
from rlt_service.json_bodies import JsonRoute
from rlt_service.openapi import refusals
from rlt_service.request_ids import request_id_of
from rlt_service.use_cases import chatter_of
from rlt_service.version_headers import stamp

router = APIRouter(tags=["chat"], route_class=JsonRoute, dependencies=[Needs("explain")])


@router.post(
    "/v1/chat/completions",
    response_model=ChatCompletion,
    dependencies=[Once],
    responses={200: {"content": {EVENT_STREAM: {}}}, **refusals(404, 429)},
)
async def chat(
    body: ChatRequest, request: Request, response: Response, services: ServicesDep, call: CallDep
) -> ChatCompletion | Response:
    """Let any version write the next message of a chat, as OpenAI's call of this name."""
    chatter = chatter_of(services)
    if body.stream:
        refuse_key(request.headers, of="stream")
        streamed, version = await streaming(call.stream(chatter.stream(body)), request_id=request_id_of(request))
        stamp(streamed, teachers=[], students=[version])
        return streamed
    answer = await call.answer(chatter.complete(body))
    stamp(response, teachers=[], students=[answer.model])
    return answer
