"""`client.jobs`: watch, cancel and read training jobs."""

import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from pydantic import ValidationError

from rlt_client._api import Api, path_of
from rlt_client._errors import APIError, APITimeoutError
from rlt_client._sse import ServerSentEvent, parse
from rlt_core.schemas.base import Page
from rlt_core.schemas.jobs import TERMINAL, Checkpoint, Job, JobEvent, JobKind, JobMetrics, JobStatus

AWAY_S: Final = 120.0
"""How long a server that answered before may be away, such as for a restart, until a follower gives up."""
SILENCE_S: Final = 60.0
"""Longest silence of a stream of events; the server breaks it every 15 s."""

AnswerT = TypeVar("AnswerT")


class Jobs:
    """Training jobs by id; the server's database is the truth, a client may come and go."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def get(self, job_id: str) -> Job:
        """Read a job."""
        return self._api.get(path_of("jobs", job_id), into=Job)

    def list(
        self,
        *,
        limit: int | None = None,
        after: str | None = None,
        status: JobStatus | None = None,
        kind: JobKind | None = None,
        pipeline: str | None = None,
    ) -> Page[Job]:
        """List jobs, newest first; of a `pipeline` those that it has handed in.

        Go on with `after=page.last_id` while `page.has_more`.
        """
        params = {"limit": limit, "after": after, "status": status, "kind": kind, "pipeline": pipeline}
        return self._api.get(path_of("jobs"), into=Page[Job], params=params)

    def cancel(self, job_id: str) -> Job:
        """Ask a job to end; repeatable. Raises ConflictError when it has ended otherwise."""
        return self._api.post(path_of("jobs", job_id, "cancel"), into=Job)

    def pause(self, job_id: str) -> Job:
        """Hold a queued job back; ask a running one to save and make room. Repeatable."""
        return self._api.post(path_of("jobs", job_id, "pause"), into=Job)

    def resume(self, job_id: str) -> Job:
        """Put a paused job back into the queue, or take back that it is to pause."""
        return self._api.post(path_of("jobs", job_id, "resume"), into=Job)

    def metrics(self, job_id: str, *, after_step: int | None = None, max_points: int | None = None) -> JobMetrics:
        """Read reward, loss and the like by step, thinned to `max_points`."""
        params = {"after_step": after_step, "max_points": max_points}
        return self._api.get(path_of("jobs", job_id, "metrics"), into=JobMetrics, params=params)

    def checkpoints(self, job_id: str) -> Page[Checkpoint]:
        """List what was saved on the way, newest first."""
        return self._api.get(path_of("jobs", job_id, "checkpoints"), into=Page[Checkpoint])

    def logs(self, job_id: str, *, max_bytes: int | None = None) -> str:
        """Read the end of what the last attempt's trainer wrote."""
        return self._api.send("GET", path_of("jobs", job_id, "logs"), params={"max_bytes": max_bytes}).text

    def events_after(self, job_id: str, *, after: int = 0, limit: int | None = None) -> Page[JobEvent]:
        """Read the events that are there, from sequence number `after` on."""
        params = {"after": after, "limit": limit}
        return self._api.get(path_of("jobs", job_id, "events"), into=Page[JobEvent], params=params)

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
                for event in self._stream(job_id, after=last):
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
            _patiently(lambda: self.get(job_id), pause_s=reconnect_pause_s, away_s=patience_s)

    def wait(
        self,
        job_id: str,
        *,
        on_event: Callable[[JobEvent], None] | None = None,
        poll_s: float = 1.0,
        timeout_s: float | None = None,
        away_s: float = AWAY_S,
    ) -> Job:
        """Come back when the job has ended, whatever its end; look at `status`, `result` and `error`.

        Asks every `poll_s` seconds. `on_event` sees every event once. Raises APITimeoutError after `timeout_s`
        (the job goes on). A server that has answered may be away for `away_s` seconds, as while it is restarted.
        """
        began_s, last = time.monotonic(), 0
        job = self.get(job_id)
        while True:
            if on_event is not None:
                last = self._report(job_id, after=last, on_event=on_event, pause_s=poll_s, away_s=away_s)
            if job.status in TERMINAL:
                return job
            if timeout_s is not None and time.monotonic() - began_s > timeout_s:
                raise APITimeoutError(f"{job_id} is still {job.status} after {timeout_s:g} s; it goes on")
            time.sleep(poll_s)
            job = _patiently(lambda: self.get(job_id), pause_s=poll_s, away_s=away_s)

    def _report(
        self, job_id: str, *, after: int, on_event: Callable[[JobEvent], None], pause_s: float, away_s: float
    ) -> int:
        def next_page() -> Page[JobEvent]:
            return self.events_after(job_id, after=after)

        while True:
            page = _patiently(next_page, pause_s=pause_s, away_s=away_s)
            for event in page.data:
                on_event(event)
                after = event.seq
            if not page.has_more:
                return after

    def _stream(self, job_id: str, *, after: int) -> Iterator[ServerSentEvent]:
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        path = path_of("jobs", job_id, "events")
        with self._api.stream("GET", path, headers=headers, silence_s=SILENCE_S) as response:
            yield from parse(response.iter_lines())


def _patiently(call: Callable[[], AnswerT], *, pause_s: float, away_s: float) -> AnswerT:
    """Call again while the server is away; raises what the last call raised once that has lasted `away_s`."""
    deadline_s = time.monotonic() + away_s
    while True:
        try:
            return call()
        except APIError as error:
            wait_s = max(pause_s, error.retry_after_s or 0.0)
            if not error.retryable or time.monotonic() + wait_s >= deadline_s:
                raise
        time.sleep(wait_s)


def _job_event(event: ServerSentEvent) -> JobEvent | None:
    # None: the stream ends with an error of the server's instead of an event of the job.
    try:
        return JobEvent.model_validate_json(event.data, extra="ignore")
    except ValidationError:
        return None
