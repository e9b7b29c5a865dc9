"""Waiting, pages and series: the same for both clients."""

import io
import sys
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from rich.console import Console

import rlt_client
from rlt_client import AsyncClient
from rlt_client._progress import Progress
from rlt_core.schemas.jobs import Job, JobEvent
from tests.client.conftest import Asking

Bodies = Callable[..., dict[str, Any]]


def at(step: int, **more: Any) -> dict[str, Any]:
    return {"progress": {"step": step, "total": 20, "eta_s": 9.0, "metrics": {"reward": -0.5}}, **more}


def event(seq: int) -> dict[str, Any]:
    return {"seq": seq, "job_id": "job_1", "attempt": 1, "created_at": "2030-01-01T00:00:00Z", "type": "progress"}


def test_waiting_tells_each_event_once_and_gives_the_end(asking: Asking, pauses: list[float], make_job: Bodies) -> None:
    asking.server.says(httpx.Response(200, json=make_job("running")), httpx.Response(200, json={"data": [event(1)]}))
    asking.server.says(httpx.ConnectError("away"), httpx.Response(200, json=make_job("succeeded")))
    asking.server.says(httpx.Response(200, json={"data": [event(2)]}))
    seen: list[int] = []
    job = asking.ask(lambda client: client.jobs.wait("job_1", on_event=lambda found: seen.append(found.seq), poll_s=2))
    assert (job.status, seen, pauses) == ("succeeded", [1, 2], [2, 2])


def test_waiting_ends_with_its_time(asking: Asking, pauses: list[float], make_job: Bodies) -> None:
    asking.server.says(*[httpx.Response(200, json=make_job("running")) for _ in range(2)])
    with pytest.raises(rlt_client.APITimeoutError, match="still running"):
        asking.ask(lambda client: client.jobs.wait("job_1", timeout_s=0))


def test_in_a_pipe_progress_is_a_line_where_something_changed(
    asking: Asking, pauses: list[float], make_job: Bodies, capsys: pytest.CaptureFixture[str]
) -> None:
    for step in (0, 1, 2, 3, 20):
        status = "succeeded" if step == 20 else "running"
        asking.server.says(httpx.Response(200, json=make_job(status, **at(step))))
    asking.ask(lambda client: client.jobs.wait("job_1", progress=True))
    out, err = capsys.readouterr()
    assert out == ""
    assert [line.split()[2:4] for line in err.splitlines()] == [
        *(["running", "0/20"], ["running", "2/20"], ["succeeded", "20/20"])
    ]


def test_in_a_terminal_progress_is_a_bar(make_job: Bodies) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120)
    with Progress("job_1", console=console) as progress:
        progress.show(Job.model_validate(make_job("running", **at(5))))
    assert "5/20" in text.getvalue()
    assert "reward -0.5 9 s left" in text.getvalue()


def test_every_page_of_a_list_is_read_when_it_is_come_to(asking: Asking, make_job: Bodies) -> None:
    for last, more in (("a", True), ("b", True), ("c", False)):
        page = {"data": [make_job(), make_job()], "has_more": more, "last_id": last}
        asking.server.says(httpx.Response(200, json=page))
    found = asking.ask(lambda client: all_of(client.jobs.iter(status="queued"), asking.kind))
    assert len(found) == 6
    queries = [dict(request.url.params) for request in asking.server.requests]
    assert queries == [{"status": "queued"}, {"status": "queued", "after": "a"}, {"status": "queued", "after": "b"}]


def test_windows_of_rows_are_read_to_the_end(asking: Asking) -> None:
    row = {"id": "r", "question": "q", "solution": "s"}
    for offset, more in ((0, True), (2, False)):
        page = {"data": [row, row], "offset": offset, "total": 4, "has_more": more}
        asking.server.says(httpx.Response(200, json=page))
    assert len(asking.ask(lambda client: all_of(client.datasets.iter_rows("ds_1"), asking.kind))) == 4
    assert [request.url.params["offset"] for request in asking.server.requests] == ["0", "2"]


def all_of(found: Any, kind: str) -> Any:
    return found if kind == "async" else list(found)


SERIES = {"job": "job_1", "steps": [1, 2], "series": {"reward": [-0.5, None], "loss": [0.1, 0.2]}}


def test_series_are_rows_by_step(asking: Asking) -> None:
    asking.server.says(httpx.Response(200, json=SERIES))
    rows = asking.ask(lambda client: client.jobs.metrics_rows("job_1"))
    assert rows == [{"step": 1, "reward": -0.5, "loss": 0.1}, {"step": 2, "reward": None, "loss": 0.2}]


def test_series_are_a_frame_where_pandas_is_there(asking: Asking) -> None:
    pandas = pytest.importorskip("pandas")
    asking.server.says(httpx.Response(200, json=SERIES))
    frame = asking.ask(lambda client: client.jobs.metrics_frame("job_1"))
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.index) == [1, 2]
    assert frame["reward"].isna().tolist() == [False, True]


def test_series_are_rows_where_pandas_is_not(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    asking.server.says(httpx.Response(200, json=SERIES))
    assert asking.ask(lambda client: client.jobs.metrics_frame("job_1"))[0]["step"] == 1


def test_a_raw_answer_has_its_headers_and_the_typed_one(asking: Asking, make_job: Bodies) -> None:
    headers = {"X-Request-Id": "req_7", "Idempotency-Replayed": "true"}
    asking.server.says(httpx.Response(200, json=make_job(), headers=headers))
    found = asking.ask(lambda client: client.with_raw_response.jobs.get("job_1"))
    assert (found.status_code, found.request_id, found.headers["Idempotency-Replayed"]) == (200, "req_7", "true")
    assert found.parse().id == "job_1"


async def test_awaited_events_are_taken_up_where_they_stopped(
    server: Any, make_job: Bodies, pauses: list[float]
) -> None:
    def stream(seq: int, *, done: bool) -> httpx.Response:
        text = f"id: {seq}\nevent: progress\ndata: {JobEvent(**event(seq)).model_dump_json()}\n\n"
        return httpx.Response(200, text=text + ("event: done\ndata: {}\n\n" if done else ""))

    server.says(stream(1, done=False), httpx.Response(200, json=make_job("running")), stream(2, done=True))
    async with AsyncClient("http://rlt.test", transport=server.transport(), max_retries=0) as client:
        assert [found.seq async for found in client.jobs.events("job_1")] == [1, 2]
    assert [request.headers.get("Last-Event-ID") for request in server.requests] == ["0", None, "1"]
