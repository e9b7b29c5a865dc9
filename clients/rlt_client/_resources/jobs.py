"""`client.jobs`: watch, cancel and read training jobs."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from pydantic import ValidationError

from rlt_client._calls import Call, Listing, Plan, ask, by_last_id, get, path_of, reader, step
from rlt_client._errors import APIError
from rlt_client._frames import Rows, frame_of, rows_of
from rlt_client._methods import Awaiting, Blocking, call, every, plan
from rlt_client._resources.waiting import AWAY_S, patiently, waiting
from rlt_client._sse import ServerSentEvent, aparse, parse
from rlt_core.schemas.base import Page
from rlt_core.schemas.jobs import Checkpoint, Job, JobEvent, JobKind, JobMetrics, JobStatus

SILENCE_S: Final = 60.0
"""Longest silence of a stream of events; the server breaks it every 15 s."""


class JobCalls:
    """Training jobs by id; the server's database is the truth, a client may come and go."""

    @call
    def get(self, job_id: str) -> Call[Job]:
        """Read a job."""
        return _job(job_id)

    @call
    def list(
        self,
        *,
        limit: int | None = None,
        after: str | None = None,
        status: JobStatus | None = None,
        kind: JobKind | None = None,
        pipeline: str | None = None,
    ) -> Call[Page[Job]]:
        """List jobs, newest first; of a `pipeline` those that it has handed in.

        One page: go on with `after=page.last_id` while `page.has_more`, or take `iter`.
        """
        params = {"limit": limit, "after": after, "status": status, "kind": kind, "pipeline": pipeline}
        return get(path_of("jobs"), into=Page[Job], params=params)

    @every
    def iter(
        self, *, status: JobStatus | None = None, kind: JobKind | None = None, pipeline: str | None = None
    ) -> Listing[Job]:
        """Give every job, newest first."""
        params = {"status": status, "kind": kind, "pipeline": pipeline}
        return by_last_id(get(path_of("jobs"), into=Page[Job], params=params))

    @call
    def cancel(self, job_id: str) -> Call[Job]:
        """Ask a job to end; repeatable. Raises ConflictError when it has ended otherwise."""
        return ask(path_of("jobs", job_id, "cancel"), into=Job)

    @call
    def pause(self, job_id: str) -> Call[Job]:
        """Hold a queued job back; ask a running one to save and make room. Repeatable."""
        return ask(path_of("jobs", job_id, "pause"), into=Job)

    @call
    def resume(self, job_id: str) -> Call[Job]:
        """Put a paused job back into the queue, or take back that it is to pause."""
        return ask(path_of("jobs", job_id, "resume"), into=Job)

    @call
    def metrics(self, job_id: str, *, after_step: int | None = None, max_points: int | None = None) -> Call[JobMetrics]:
        """Read reward, loss and the like by step, thinned to `max_points`."""
        params = {"after_step": after_step, "max_points": max_points}
        return get(path_of("jobs", job_id, "metrics"), into=JobMetrics, params=params)

    @plan
    def metrics_rows(self, job_id: str, *, after_step: int | None = None, max_points: int | None = None) -> Plan[Rows]:
        """Read metrics as one dictionary a step, with `step` and every series; None where a step has no value."""
        params = {"after_step": after_step, "max_points": max_points}
        found = yield from step(get(path_of("jobs", job_id, "metrics"), into=JobMetrics, params=params))
        return rows_of(found)

    @plan
    def metrics_frame(self, job_id: str, *, after_step: int | None = None, max_points: int | None = None) -> Plan[Any]:
        """Read metrics as a pandas frame with `step` as its index; where pandas is not there, as `metrics_rows`."""
        params = {"after_step": after_step, "max_points": max_points}
        found = yield from step(get(path_of("jobs", job_id, "metrics"), into=JobMetrics, params=params))
        return frame_of(found)

    @call
    def checkpoints(self, job_id: str) -> Call[Page[Checkpoint]]:
        """List what was saved on the way, newest first."""
        return get(path_of("jobs", job_id, "checkpoints"), into=Page[Checkpoint])

    @call
    def logs(self, job_id: str, *, max_bytes: int | None = None) -> Call[str]:
        """Read the end of what the last attempt's trainer wrote."""
        path, params = path_of("jobs", job_id, "logs"), {"max_bytes": max_bytes}
        return Call(method="GET", path=path, read=lambda response: response.text, params=params, repeatable=True)

    @call
    def events_after(self, job_id: str, *, after: int = 0, limit: int | None = None) -> Call[Page[JobEvent]]:
        """Read the events that are there, from sequence number `after` on."""
        params = {"after": after, "limit": limit}
        return get(path_of("jobs", job_id, "events"), into=Page[JobEvent], params=params)

    @plan
    def wait(
        self,
        job_id: str,
        *,
        progress: bool = False,
        on_event: Callable[[JobEvent], None] | None = None,
        poll_s: float = 1.0,
        timeout_s: float | None = None,
        away_s: float = AWAY_S,
    ) -> Plan[Job]:
        """Come back when the job has ended, whatever its end; look at `status`, `result` and `error`.

        Asks every `poll_s` seconds. With `progress` a bar is painted on stderr: in a terminal or a notebook as it
        moves, elsewhere as a line now and then. `on_event` sees every event once. Raises APITimeoutError after
        `timeout_s` (the job goes on). A server that has answered may be away for `away_s` seconds, as while it is
        restarted.
        """
        return waiting(job_id, progress=progress, on_event=on_event, poll_s=poll_s, timeout_s=timeout_s, away_s=away_s)


class Jobs(JobCalls, Blocking):
    """Training jobs by id; the server's database is the truth, a client may come and go."""

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
            self._api.carry_out(patiently(_job(job_id), pause_s=reconnect_pause_s, away_s=patience_s))


class AsyncJobs(JobCalls, Awaiting):
    """Training jobs by id, awaited."""

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
            await self._api.carry_out(patiently(_job(job_id), pause_s=reconnect_pause_s, away_s=patience_s))


def _job(job_id: str) -> Call[Job]:
    return get(path_of("jobs", job_id), into=Job)


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
