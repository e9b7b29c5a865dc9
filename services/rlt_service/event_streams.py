"""Own what every stream of server-sent events does the same: how an event is written, and how a broken stream ends."""

import json
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from fastapi.sse import format_sse_event
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from rlt_core.errors import RltError
from rlt_service.problems import problem_of, unexpected

LOGGER = logging.getLogger(__name__)

EVENT_STREAM = "text/event-stream"
NOT_STORED = {"Cache-Control": "no-store"}


def written(content: BaseModel, *, name: str | None = None, exclude_unset: bool = False) -> bytes:
    """Write one event."""
    # JSON in ASCII: readers of event streams also break lines at U+2028 and U+0085.
    data = json.dumps(content.model_dump(mode="json", exclude_unset=exclude_unset))
    return format_sse_event(event=name, data_str=data)


async def ending(
    events: AsyncGenerator[bytes], *, broken: Callable[[BaseModel], bytes], request_id: str
) -> AsyncGenerator[bytes]:
    """Pass events on; what goes wrong is told as the last one, since the status is sent, and nobody hears it who left.

    `broken` writes the problem.
    """
    async with aclosing(events):
        try:
            async for event in events:
                yield event
            return
        except ClientDisconnect:
            return
        except RltError as error:
            found = error
        except Exception:  # the boundary of the request
            LOGGER.exception("request %s broke within its stream", request_id)
            found = unexpected(request_id=request_id)
        yield broken(problem_of(found, request_id=request_id))
