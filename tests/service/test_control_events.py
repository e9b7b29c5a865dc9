"""Server-sent events of a job: each once, in order, from where a reader stopped, to the job's end."""

import asyncio
import json
import signal
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest
import uvicorn

from rlt_client._sse import ServerSentEvent, parse
from rlt_core.errors import StorageUnavailableError
from rlt_core.schemas.jobs import Job, JobEvent, Progress
from rlt_service.control.event_stream import PAGE, EventFeed, Leaving, Seen, Silence
from rlt_service.control.routes.events import encode_feed
from rlt_service.control.shared_looks import SharedLooks
from rlt_service.serve import LeavingServer
from rlt_service.store.jobs import JobStore
from rlt_service.store.ownership import VIEWER, Viewer, owner
from tests.support.control import Control, check_problem, control_app

SSE = {"Accept": "text/event-stream"}


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home")) as made:
        yield made


def stream(control: Control, job_id: str, *, query: str = "", **headers: str) -> list[ServerSentEvent]:
    answer = control.http.get(f"/v1/jobs/{job_id}/events{query}", headers={**SSE, **headers})
    assert answer.headers["content-type"].startswith("text/event-stream")
    return list(parse(answer.iter_lines()))


def record(control: Control, job: Job, *, steps: range) -> None:
    for step in steps:
        control.services.jobs.save_progress(job.id, job.attempt, Progress(step=step))


def ended_job(control: Control, *, steps: int) -> Job:
    job = control.running_job()
    events = [("progress", {"step": step}) for step in range(1, steps + 1)]
    control.services.jobs.record(job.id, job.attempt, events)
    return control.services.jobs.finish(job.id, job.attempt, "succeeded")


def test_all_events_of_an_ended_job_come_in_order_then_done(control: Control) -> None:
    job = ended_job(control, steps=3)
    found = stream(control, job.id)
    assert [event.event for event in found] == ["queued", "started", *["progress"] * 3, "succeeded", "done"]
    assert [event.id for event in found[:-1]] == ["1", "2", "3", "4", "5", "6"]
    assert JobEvent.model_validate_json(found[2].data).data == {"step": 1}
    ended = Job.model_validate_json(found[-1].data)
    assert (ended.id, ended.status) == (job.id, "succeeded")


@pytest.mark.parametrize("last", range(7))
def test_a_reader_goes_on_after_its_last_event_id_without_gap_or_repetition(control: Control, last: int) -> None:
    job = ended_job(control, steps=3)
    found = stream(control, job.id, **{"Last-Event-ID": str(last)})
    assert [event.id for event in found[:-1]] == [str(seq) for seq in range(last + 1, 7)]
    assert found[-1].event == "done"


def test_the_header_goes_before_the_query(control: Control) -> None:
    job = ended_job(control, steps=3)
    assert stream(control, job.id, query="?after=5")[0].id == "6"
    assert stream(control, job.id, query="?after=1", **{"Last-Event-ID": "4"})[0].id == "5"


def test_more_events_than_one_page_come_whole(control: Control) -> None:
    job = ended_job(control, steps=PAGE + 5)
    assert [event.id for event in stream(control, job.id)[:-1]] == [str(seq) for seq in range(1, PAGE + 9)]


def test_a_following_reader_gets_what_happens_meanwhile(control: Control) -> None:
    job = control.running_job()
    feed = EventFeed(jobs=control.services.jobs, poll_s=0.01)
    seen: list[Any] = []

    def write() -> None:
        record(control, job, steps=range(1, 20))
        control.services.jobs.finish(job.id, job.attempt, "failed")

    async def follow() -> None:
        writer = threading.Thread(target=write)
        async for item in feed.follow(job.id, after_seq=0):
            if not seen:
                writer.start()
            seen.append(item)
        writer.join()

    asyncio.run(follow())
    assert [item.seq for item in seen[:-1]] == list(range(1, 23))
    assert seen[-1].status == "failed"


def test_a_stream_ends_without_done_when_the_server_stops(control: Control) -> None:
    job = control.running_job()
    leaving = threading.Event()
    feed = EventFeed(jobs=control.services.jobs, leaving=leaving, poll_s=0.001)

    async def follow() -> list[Any]:
        told: list[Any] = []
        async for item in feed.follow(job.id, after_seq=0):
            told.append(item.type if isinstance(item, JobEvent) else item)
            leaving.set()
        return told

    assert asyncio.run(follow()) == ["queued", "started", Leaving()]


def test_a_reader_is_told_that_the_server_ends_and_when_to_come_back(control: Control) -> None:
    job = control.running_job()
    control.services.leaving.set()
    try:
        answer = control.http.get(f"/v1/jobs/{job.id}/events", headers=SSE)
    finally:
        control.services.leaving.clear()
    assert answer.text == ": the server ends; come back with Last-Event-ID\nretry: 1000\n\n"
    assert list(parse(answer.iter_lines())) == []


class CountedJobs:
    """A job store that counts the pages that are read of it."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs
        self.pages = 0

    def get(self, job_id: str) -> Job:
        return self._jobs.get(job_id)

    def events(self, job_id: str, *, after_seq: int, limit: int) -> Sequence[JobEvent]:
        self.pages += 1
        return self._jobs.events(job_id, after_seq=after_seq, limit=limit)


def test_a_slow_reader_makes_the_server_hold_one_page_and_not_the_whole_history(control: Control) -> None:
    job = ended_job(control, steps=3 * PAGE)
    jobs: Any = CountedJobs(control.services.jobs)

    async def read(count: int) -> None:
        feed = EventFeed(jobs=jobs, poll_s=0.001).follow(job.id, after_seq=0)
        for _ in range(count):
            await anext(feed)
        await asyncio.sleep(0.05)

    asyncio.run(read(1))
    assert jobs.pages == 1
    asyncio.run(read(PAGE + 1))
    assert jobs.pages == 1 + 2


def test_readers_of_one_job_share_their_looks_and_each_gets_every_event(control: Control) -> None:
    job = control.running_job()
    jobs: Any = CountedJobs(control.services.jobs)
    looks = SharedLooks[Seen]()

    async def follow() -> list[int]:
        feed = EventFeed(jobs=jobs, looks=looks, poll_s=0.2)
        return [item.seq async for item in feed.follow(job.id, after_seq=0) if isinstance(item, JobEvent)]

    async def all_of_them() -> list[list[int]]:
        following = [asyncio.create_task(follow()) for _ in range(30)]
        while jobs.pages < 30:  # each has looked once for itself
            await asyncio.sleep(0.01)
        following.pop().cancel()  # one that leaves takes nothing away from the others
        control.services.jobs.finish(job.id, job.attempt, "succeeded")
        return await asyncio.gather(*following)

    assert asyncio.run(all_of_them()) == [[1, 2, 3]] * 29
    # All wait together; a look or two more where the machine was slow to let one of them wait.
    assert jobs.pages <= 30 + 10


def test_readers_by_different_keys_share_no_look() -> None:
    looks = SharedLooks[str | None]()

    async def asked(key: str) -> str | None:
        VIEWER.set(Viewer(key=key, sees_all=False))
        return await looks.soon(owner, key="job", in_s=0.01)

    async def both() -> list[str | None]:
        return list(await asyncio.gather(asyncio.create_task(asked("a")), asyncio.create_task(asked("b"))))

    assert asyncio.run(both()) == ["a", "b"]


def test_a_look_that_fails_is_told_to_all_who_waited_for_it() -> None:
    looks = SharedLooks[str]()

    def broken() -> str:
        raise StorageUnavailableError("the disk is full")

    async def both() -> list[Any]:
        waiting = [looks.soon(broken, key="job", in_s=0.01) for _ in range(2)]
        return await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(found) for found in asyncio.run(both())] == [StorageUnavailableError] * 2


def test_a_server_that_is_asked_to_stop_says_so_to_its_streams(control: Control) -> None:
    server = LeavingServer(uvicorn.Config(control.http.app))
    server.handle_exit(signal.SIGTERM, None)
    assert control.services.leaving.is_set()
    assert server.should_exit
    control.services.leaving.clear()


def test_silence_is_told_so_that_connections_stay_open(control: Control) -> None:
    job = control.running_job()
    feed = EventFeed(jobs=control.services.jobs, poll_s=0.001, keep_alive_s=0.0)

    async def third() -> Any:
        items = feed.follow(job.id, after_seq=0)
        return [await anext(items) for _ in range(3)][-1]

    assert asyncio.run(third()) == Silence()


def test_a_text_that_readers_would_break_at_arrives_whole(control: Control) -> None:
    text = "one\u2028two\u0085three\rfour\nfive\u2029\x0b\x0c\x1c"
    job = control.running_job()
    control.services.jobs.append_event(job.id, job.attempt, "log", {"message": text})
    control.services.jobs.finish(job.id, job.attempt, "succeeded")
    found = next(event for event in stream(control, job.id) if event.event == "log")
    assert json.loads(found.data)["data"] == {"message": text}


def test_a_fault_after_the_stream_began_is_told_in_it() -> None:
    async def feed() -> AsyncIterator[Silence]:
        yield Silence()
        raise StorageUnavailableError("the disk is full")

    async def collect() -> bytes:
        return b"".join([chunk async for chunk in encode_feed(feed())])

    ending = list(parse(asyncio.run(collect()).decode().splitlines()))
    assert [event.event for event in ending] == ["error"]
    assert json.loads(ending[0].data) == {
        "code": "storage_unavailable",
        "detail": "the disk is full",
        "retryable": True,
    }


@pytest.mark.parametrize("last", ["x", "-1", str(2**70), "1.5"])
def test_a_last_event_id_that_is_no_sequence_number_is_refused(control: Control, last: str) -> None:
    answer = control.http.get("/v1/jobs/job_" + "0" * 20 + "/events", headers={**SSE, "Last-Event-ID": last})
    check_problem(answer, 422, "invalid_request", "/last-event-id")


def test_a_stream_of_an_unknown_job_is_a_404(control: Control) -> None:
    check_problem(control.http.get("/v1/jobs/job_" + "0" * 20 + "/events", headers=SSE), 404, "not_found")
