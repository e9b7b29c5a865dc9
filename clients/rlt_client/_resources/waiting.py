"""Wait for a job, also over a restart of its server: plans, so that both drivers wait alike."""

import contextlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from rlt_client._calls import Call, Pause, Plan, get, path_of, step
from rlt_client._errors import APIError, APITimeoutError
from rlt_core.schemas.base import Page
from rlt_core.schemas.jobs import TERMINAL, Job, JobEvent

if TYPE_CHECKING:
    from rlt_client._progress import Progress

AWAY_S: Final = 120.0
"""How long a server that answered before may be away, such as for a restart, until a follower gives up."""

AnswerT = TypeVar("AnswerT")


def patiently(call: Call[AnswerT], *, pause_s: float, away_s: float) -> Plan[AnswerT]:
    """Call again while the server is away; raises what the last call raised once that has lasted `away_s`."""
    deadline_s = time.monotonic() + away_s
    while True:
        try:
            answer: AnswerT = yield call.once()
            return answer
        except APIError as error:
            wait_s = max(pause_s, error.retry_after_s or 0.0)
            if not error.retryable or time.monotonic() + wait_s >= deadline_s:
                raise
        yield Pause(seconds=wait_s)


def waiting(
    job_id: str,
    *,
    progress: bool,
    on_event: Callable[[JobEvent], None] | None,
    poll_s: float,
    timeout_s: float | None,
    away_s: float,
) -> Plan[Job]:
    """Ask until the job has ended; raises APITimeoutError after `timeout_s`."""
    began_s, last = time.monotonic(), 0
    reading = get(path_of("jobs", job_id), into=Job)
    job = yield from step(reading)
    with _painted(job_id) if progress else contextlib.nullcontext() as painted:
        while True:
            if painted is not None:
                painted.show(job)
            if on_event is not None:
                last = yield from _report(job_id, after=last, on_event=on_event, pause_s=poll_s, away_s=away_s)
            if job.status in TERMINAL:
                return job
            if timeout_s is not None and time.monotonic() - began_s > timeout_s:
                raise APITimeoutError(f"{job_id} is still {job.status} after {timeout_s:g} s; it goes on")
            yield Pause(seconds=poll_s)
            job = yield from patiently(reading, pause_s=poll_s, away_s=away_s)


def _painted(job_id: str) -> "Progress":
    # Not at the top: who paints nothing loads no rich.
    from rlt_client._progress import Progress

    return Progress(job_id)


def _report(
    job_id: str, *, after: int, on_event: Callable[[JobEvent], None], pause_s: float, away_s: float
) -> Plan[int]:
    while True:
        reading = get(path_of("jobs", job_id, "events"), into=Page[JobEvent], params={"after": after})
        page = yield from patiently(reading, pause_s=pause_s, away_s=away_s)
        for event in page.data:
            on_event(event)
            after = event.seq
        if not page.has_more:
            return after
