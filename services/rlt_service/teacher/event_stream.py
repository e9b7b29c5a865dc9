"""Own how a stream of /v1/explain looks on the wire: server-sent events, ended by `done` or `error`."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from fastapi.responses import StreamingResponse

from rlt_core.schemas.explain import ExplainDone, ExplainEvent, Explanation, ExplanationDelta
from rlt_service.event_streams import EVENT_STREAM, NOT_STORED, ending, written
from rlt_service.teacher.stream import Streamed
from rlt_service.version_headers import stamp

_NAMES: dict[type[ExplainEvent], str] = {ExplanationDelta: "delta", Explanation: "explanation", ExplainDone: "done"}


async def streaming(items: AsyncGenerator[Streamed], *, request_id: str) -> StreamingResponse:
    """Begin the answer with the first event; what goes wrong before it is an ordinary problem, and raised here."""
    first = await anext(items)
    body = ending(_events(first, items), broken=partial(written, name="error"), request_id=request_id)
    answer = StreamingResponse(body, media_type=EVENT_STREAM, headers=NOT_STORED)
    stamp(answer, teachers=[first.teacher], students=[])
    return answer


async def _events(first: Streamed, rest: AsyncGenerator[Streamed]) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        yield _written(first.event)
        async for item in rest:
            yield _written(item.event)


def _written(event: ExplainEvent) -> bytes:
    return written(event, name=_NAMES[type(event)])
