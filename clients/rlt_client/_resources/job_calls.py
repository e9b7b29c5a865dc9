"""Own the descriptions of `client.jobs`: what is asked about jobs; pure."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Generic, TypeVar, cast

import httpx

from rlt_client._calls import Call, Listing, Plan, ask, by_last_id, get, path_of, step
from rlt_client._frames import Rows, frame_of, rows_of
from rlt_client._methods import call, every, plan
from rlt_client._resources.waiting import AWAY_S, waiting
from rlt_core.schemas.base import Page
from rlt_core.schemas.jobs import Checkpoint, Job, JobEvent, JobKind, JobMetrics, JobStatus

JobT = TypeVar("JobT", bound=Job)


class JobAnswers(Generic[JobT]):
    """Descriptions whose answers are jobs; a resource gives them their calls, a bare class as they came."""

    def _hold(self, job: Job) -> JobT:
        return cast(JobT, job)

    def _held(self, call: Call[Job]) -> Call[JobT]:
        def read(response: httpx.Response) -> JobT:
            return self._hold(call.read(response))

        return replace(cast(Call[Any], call), read=read)


class JobCalls(JobAnswers[JobT]):
    """Training jobs by id; the server's database is the truth, a client may come and go."""

    @call
    def get(self, job_id: str) -> Call[JobT]:
        """Read a job."""
        return self._held(reading(job_id))

    @call
    def list(
        self,
        *,
        limit: int | None = None,
        after: str | None = None,
        status: JobStatus | None = None,
        kind: JobKind | None = None,
        pipeline: str | None = None,
    ) -> Call[Page[JobT]]:
        """List jobs, newest first; of a `pipeline` those that it has handed in.

        One page: go on with `after=page.last_id` while `page.has_more`, or take `iter`.
        """
        params = {"limit": limit, "after": after, "status": status, "kind": kind, "pipeline": pipeline}
        call = get(path_of("jobs"), into=Page[Job], params=params)

        def read(response: httpx.Response) -> Page[JobT]:
            page: Page[Any] = call.read(response)
            return page.model_copy(update={"data": [self._hold(job) for job in page.data]})

        return replace(cast(Call[Any], call), read=read)

    @every
    def iter(
        self, *, status: JobStatus | None = None, kind: JobKind | None = None, pipeline: str | None = None
    ) -> Listing[JobT]:
        """Give every job, newest first."""
        params = {"status": status, "kind": kind, "pipeline": pipeline}
        pages = by_last_id(get(path_of("jobs"), into=Page[Job], params=params))

        def items(page: Page[Job]) -> Sequence[JobT]:
            return [self._hold(job) for job in page.data]

        return replace(pages, items=items)

    @call
    def cancel(self, job_id: str) -> Call[JobT]:
        """Ask a job to end; repeatable. Raises ConflictError when it has ended otherwise."""
        return self._held(ask(path_of("jobs", job_id, "cancel"), into=Job))

    @call
    def pause(self, job_id: str) -> Call[JobT]:
        """Hold a queued job back; ask a running one to save and make room. Repeatable."""
        return self._held(ask(path_of("jobs", job_id, "pause"), into=Job))

    @call
    def resume(self, job_id: str) -> Call[JobT]:
        """Put a paused job back into the queue, or take back that it is to pause."""
        return self._held(ask(path_of("jobs", job_id, "resume"), into=Job))

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
    ) -> Plan[JobT]:
        """Come back when the job has ended, whatever its end; look at `status`, `result` and `error`.

        Asks every `poll_s` seconds. With `progress` a bar is painted on stderr: in a terminal or a notebook as it
        moves, elsewhere as a line now and then. `on_event` sees every event once. Raises APITimeoutError after
        `timeout_s` (the job goes on). A server that has answered may be away for `away_s` seconds, as while it is
        restarted.
        """
        return self._hold(
            (
                yield from waiting(
                    job_id, progress=progress, on_event=on_event, poll_s=poll_s, timeout_s=timeout_s, away_s=away_s
                )
            )
        )


def reading(job_id: str) -> Call[Job]:
    """Describe reading a job, as it comes."""
    return get(path_of("jobs", job_id), into=Job)
