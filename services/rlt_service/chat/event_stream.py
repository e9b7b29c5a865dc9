"""Own how a stream of a chat looks on the wire: chunks as data of server-sent events, ended by `[DONE]`."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event
from pydantic import BaseModel

from rlt_core.schemas.chat import ChatChunk
from rlt_service.event_streams import EVENT_STREAM, NOT_STORED, ending, written

_DONE = format_sse_event(data_str="[DONE]")


async def streaming(chunks: AsyncGenerator[ChatChunk], *, request_id: str) -> tuple[StreamingResponse, str]:
    """Begin the answer with the first chunk, and name its version; what goes wrong before it is raised here."""
    first = await anext(chunks)
    body = ending(_events(first, chunks), broken=_broken, request_id=request_id)
    return StreamingResponse(body, media_type=EVENT_STREAM, headers=NOT_STORED), first.model


async def _events(first: ChatChunk, rest: AsyncGenerator[ChatChunk]) -> AsyncGenerator[bytes]:
    async with aclosing(rest):
        yield written(first, exclude_unset=True)
        async for chunk in rest:
            yield written(chunk, exclude_unset=True)
        yield _DONE


def _broken(problem: BaseModel) -> bytes:
    # OpenAI's clients look for the problem's `error`.
    return written(problem) + _DONE
