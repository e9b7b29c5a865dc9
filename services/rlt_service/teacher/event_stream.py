"""Own how a stream of /v1/explain looks on the wire: server-sent events, ended by `done` or `error`."""

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from rlt_core.errors import RltError
from rlt_core.schemas.explain import ExplainDone, ExplainEvent, Explanation, ExplanationDelta
from rlt_service.problems import problem_of, unexpected
from rlt_service.teacher.stream import Streamed
from rlt_service.version_headers import stamp

LOGGER = logging.getLogger(__name__)

EVENT_STREAM = "text/event-stream"

_NAMES: dict[type[ExplainEvent], str] = {ExplanationDelta: "delta", Explanation: "explanation", ExplainDone: "done"}


async def streaming(items: AsyncGenerator[Streamed], *, request_id: str) -> StreamingResponse:
    """Begin the answer with the first event; what goes wrong before it is an ordinary problem, and raised here."""
    first = await anext(items)
    headers = {"Cache-Control": "no-store"}
    answer = StreamingResponse(_encode(first, items, request_id=request_id), media_type=EVENT_STREAM, headers=headers)
    stamp(answer, teachers=[first.teacher], students=[])
    return answer


async def _encode(first: Streamed, rest: AsyncGenerator[Streamed], *, request_id: str) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        try:
            yield _event_of(first.event)
            async for item in rest:
                yield _event_of(item.event)
            return
        except ClientDisconnect:
            return
        except RltError as error:
            found = error
        except Exception:  # the boundary of the request: the status is sent, so only an event can tell
            LOGGER.exception("request %s broke within its stream", request_id)
            found = unexpected(request_id=request_id)
        yield _encoded("error", problem_of(found, request_id=request_id))


def _event_of(event: ExplainEvent) -> bytes:
    return _encoded(_NAMES[type(event)], event)


def _encoded(name: str, content: BaseModel) -> bytes:
    # JSON in ASCII: readers of event streams also break lines at U+2028 and U+0085.
    return format_sse_event(event=name, data_str=json.dumps(content.model_dump(mode="json")))
