"""/v1/jobs/{id}/events: a JSON list, or server-sent events that go on where a reader stopped."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import KEEPALIVE_COMMENT, format_sse_event

from rlt_core.errors import RltError
from rlt_core.schemas.base import Page
from rlt_core.schemas.jobs import Job, JobEvent
from rlt_service.access.scopes import Needs
from rlt_service.container import ServicesDep
from rlt_service.control.event_stream import EventFeed, Leaving, Silence, Told
from rlt_service.control.routes.parameters import JobId
from rlt_service.event_streams import EVENT_STREAM, NOT_STORED

router = APIRouter(prefix="/v1/jobs", tags=["jobs"], dependencies=[Needs("train")])

LEAVING = b": the server ends; come back with Last-Event-ID\nretry: 1000\n\n"
"""A comment, since nothing happened to the job, and when to come back, in milliseconds."""
Sequence = Annotated[int, Query(ge=0, le=2**53, description="Events after this one.")]
LastEventId = Annotated[int | None, Header(ge=0, le=2**53, description="Goes before `after`.")]


@router.get("/{job_id}/events", response_model=Page[JobEvent], responses={200: {"content": {EVENT_STREAM: {}}}})
async def job_events(
    job_id: JobId,
    services: ServicesDep,
    after: Sequence = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
    last_event_id: LastEventId = None,
) -> Page[JobEvent] | Response:
    """Read the events of a job, oldest first; with `Accept: text/event-stream` follow them to the job's end."""
    feed = EventFeed(jobs=services.jobs, leaving=services.leaving, looks=services.event_looks)
    if EVENT_STREAM not in accept:
        return await asyncio.to_thread(feed.page, job_id, after_seq=after, limit=limit)
    await asyncio.to_thread(services.jobs.get, job_id)  # an unknown job is a 404, not a stream
    items = feed.follow(job_id, after_seq=after if last_event_id is None else last_event_id)
    return StreamingResponse(encode_feed(items), media_type=EVENT_STREAM, headers=NOT_STORED)


async def encode_feed(feed: AsyncIterator[Told]) -> AsyncIterator[bytes]:
    """Write a feed as server-sent events; a fault becomes an `error` event."""
    try:
        async for item in feed:
            match item:
                case JobEvent():
                    yield format_sse_event(event=item.type, data_str=_ascii(item), id=str(item.seq))
                case Job():
                    yield format_sse_event(event="done", data_str=_ascii(item))
                case Silence():
                    yield KEEPALIVE_COMMENT
                case Leaving():
                    yield LEAVING
    except RltError as error:
        # The answer has begun, so the error can only be told in it; a reader comes back with its Last-Event-ID.
        data = json.dumps({"code": error.code, "detail": error.detail, "retryable": error.retryable})
        yield format_sse_event(event="error", data_str=data)


def _ascii(item: JobEvent | Job) -> str:
    """Write JSON in ASCII: readers of event streams also break lines at U+2028 and U+0085."""
    return json.dumps(item.model_dump(mode="json"))
