"""Own how a stream of a chat looks on the wire: chunks as data of server-sent events, ended by `[DONE]`."""

import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from starlette.requests import ClientDisconnect

from rlt_core.errors import RltError
from rlt_core.schemas.chat import ChatChunk
from rlt_service.problems import problem_of, unexpected

LOGGER = logging.getLogger(__name__)

EVENT_STREAM = "text/event-stream"
DONE = "[DONE]"


async def streaming(chunks: AsyncGenerator[ChatChunk], *, request_id: str) -> tuple[StreamingResponse, str]:
    """Begin the answer with the first chunk, and name its version; what goes wrong before it is raised here."""
    first = await anext(chunks)
    headers = {"Cache-Control": "no-store"}
    body = _encode(first, chunks, request_id=request_id)
    return StreamingResponse(body, media_type=EVENT_STREAM, headers=headers), first.model


async def _encode(first: ChatChunk, rest: AsyncGenerator[ChatChunk], *, request_id: str) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        try:
            yield _encoded(first.model_dump(mode="json", exclude_unset=True))
            async for chunk in rest:
                yield _encoded(chunk.model_dump(mode="json", exclude_unset=True))
            yield format_sse_event(data_str=DONE)
            return
        except ClientDisconnect:
            return
        except RltError as error:
            found = error
        except Exception:  # the boundary of the request: the status is sent, so only an event can tell
            LOGGER.exception("request %s broke within its stream", request_id)
            found = unexpected(request_id=request_id)
        # A problem, whose `error` OpenAI's clients look for.
        yield _encoded(problem_of(found, request_id=request_id).model_dump(mode="json"))
        yield format_sse_event(data_str=DONE)


def _encoded(content: dict[str, Any]) -> bytes:
    # JSON in ASCII: readers of event streams also break lines at U+2028 and U+0085.
    return format_sse_event(data_str=json.dumps(content))
