"""`client.jobs`: watch, cancel and read training jobs."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

from pydantic import ValidationError

from rlt_client._calls import Call, path_of, reader
from rlt_client._errors import APIError
from rlt_client._methods import Awaiting, Blocking
from rlt_client._resources.job import AsyncJob, Job
from rlt_client._resources.job_calls import JobCalls, reading
from rlt_client._resources.waiting import AWAY_S, patiently
from rlt_client._sse import ServerSentEvent, aparse, parse
from rlt_core.schemas import jobs as wire
from rlt_core.schemas.base import Page
from rlt_core.schemas.jobs import JobEvent

SILENCE_S: Final = 60.0
"""Longest silence of a stream of events; the server breaks it every 15 s."""


class Jobs(JobCalls[Job], Blocking):
    """Training jobs by id; the server's database is the truth, a client may come and go."""

    def _hold(self, job: wire.Job) -> Job:
        return Job.of(job, api=self._api)

    def events(
        self, job_id: str, *, after: int = 0, reconnect_pause_s: float = 1.0, away_s: float = AWAY_S
    ) -> Iterator[JobEvent]:
        """Give events as they come, until the job has ended; each once, in order.

        A stream that breaks is taken up where it stopped, after a pause. A server that has answered may then be away
        for `away_s` seconds, as while it is restarted; after that raises what it, or its absence, says.
        """
        last, patience_s = after, 0.0
        while True:
            try:
                with self._api.stream(_events(job_id, after=last), silence_s=SILENCE_S) as response:
                    for event in parse(response.iter_lines()):
                        patience_s = away_s
                        if event.event == "done":
                            return
                        read = _job_event(event)
                        if read is None:
                            break
                        last = read.seq
                        yield read
            except APIError as error:
                if not error.retryable:
                    raise
            time.sleep(reconnect_pause_s)
            self._api.carry_out(patiently(reading(job_id), pause_s=reconnect_pause_s, away_s=patience_s))


class AsyncJobs(JobCalls[AsyncJob], Awaiting):
    """Training jobs by id, awaited."""

    def _hold(self, job: wire.Job) -> AsyncJob:
        return AsyncJob.of(job, api=self._api)

    async def events(
        self, job_id: str, *, after: int = 0, reconnect_pause_s: float = 1.0, away_s: float = AWAY_S
    ) -> AsyncIterator[JobEvent]:
        """Give events as they come, as `Client.jobs.events` does: `async for event in …`."""
        last, patience_s = after, 0.0
        while True:
            try:
                async with self._api.stream(_events(job_id, after=last), silence_s=SILENCE_S) as response:
                    async for event in aparse(response.aiter_lines()):
                        patience_s = away_s
                        if event.event == "done":
                            return
                        read = _job_event(event)
                        if read is None:
                            break
                        last = read.seq
                        yield read
            except APIError as error:
                if not error.retryable:
                    raise
            await asyncio.sleep(reconnect_pause_s)
            await self._api.carry_out(patiently(reading(job_id), pause_s=reconnect_pause_s, away_s=patience_s))


def _events(job_id: str, *, after: int) -> Call[Any]:
    # Not repeatable: who follows the events takes the stream up again by itself, with patience of its own.
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
    return Call(method="GET", path=path_of("jobs", job_id, "events"), read=reader(Page[JobEvent]), headers=headers)


def _job_event(event: ServerSentEvent) -> JobEvent | None:
    # None: the stream ends with an error of the server's instead of an event of the job.
    try:
        return JobEvent.model_validate_json(event.data, extra="ignore")
    except ValidationError:
        return None
