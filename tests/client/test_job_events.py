from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest

import rlt_client
from rlt_client import Client
from rlt_client._sse import parse
from rlt_core.schemas.jobs import JobEvent
from tests.client.conftest import Canned

Bodies = Callable[..., dict[str, Any]]


def event(seq: int, type_: str = "progress") -> dict[str, Any]:
    return {"seq": seq, "job_id": "job_1", "attempt": 1, "created_at": "2030-01-01T00:00:00Z", "type": type_}


def stream(seqs: Sequence[int], *, done: bool) -> httpx.Response:
    parts = [f"id: {seq}\nevent: progress\ndata: {JobEvent(**event(seq)).model_dump_json()}\n\n" for seq in seqs]
    text = ": hello\n\n" + "".join(parts) + ("event: done\ndata: {}\n\n" if done else "")
    return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})


def test_an_event_is_put_together_from_its_lines() -> None:
    lines = ["id: 4", "event: delta", "data: a", "data:b", ": keep-alive", "", "data: c", "", "data: unfinished"]
    assert [(e.id, e.event, e.data) for e in parse(lines)] == [("4", "delta", "a\nb"), ("4", "message", "c")]


def test_events_end_with_done(client: Client, server: Canned) -> None:
    server.says(stream([1, 2], done=True))
    assert [found.seq for found in client.jobs.events("job_1", reconnect_pause_s=0)] == [1, 2]


def test_a_stream_that_breaks_is_taken_up_where_it_stopped(client: Client, server: Canned, make_job: Bodies) -> None:
    server.says(stream([1, 2], done=False), httpx.Response(200, json=make_job("running")), stream([3], done=True))
    assert [found.seq for found in client.jobs.events("job_1", reconnect_pause_s=0)] == [1, 2, 3]
    assert [request.headers.get("Last-Event-ID") for request in server.requests] == ["0", None, "2"]


def test_an_error_of_the_server_within_a_stream_is_no_event(client: Client, server: Canned, make_job: Bodies) -> None:
    error = 'event: error\ndata: {"code": "storage_unavailable", "detail": "full", "retryable": true}\n\n'
    server.says(httpx.Response(200, text=error), httpx.Response(200, json=make_job()), stream([1], done=True))
    assert [found.seq for found in client.jobs.events("job_1", reconnect_pause_s=0)] == [1]


def test_a_server_that_stays_away_ends_the_events_with_an_error(client: Client, server: Canned) -> None:
    server.says(stream([1], done=False), httpx.ConnectError("refused"))
    with pytest.raises(rlt_client.APIConnectionError):
        list(client.jobs.events("job_1", reconnect_pause_s=0, away_s=0))


def test_a_server_that_never_answered_is_not_waited_for(client: Client, server: Canned) -> None:
    server.says(httpx.ConnectError("refused"), httpx.ConnectError("refused"))
    with pytest.raises(rlt_client.APIConnectionError):
        list(client.jobs.events("job_1", reconnect_pause_s=0))
    server.says(httpx.ConnectError("refused"))
    with pytest.raises(rlt_client.APIConnectionError):
        client.jobs.wait("job_1", poll_s=0)


def test_events_go_on_over_a_restart_of_the_server(
    client: Client, server: Canned, make_job: Bodies, make_problem: Callable[..., httpx.Response]
) -> None:
    unready = make_problem(503, "storage_unavailable", "not yet", retryable=True)
    del unready.headers["Retry-After"]
    away = [httpx.ReadError("reset"), httpx.ConnectError("refused"), unready]
    server.says(stream([1, 2], done=False), *away, httpx.Response(200, json=make_job("running")))
    server.says(unready, httpx.Response(200, json=make_job("running")), stream([3], done=True))
    assert [found.seq for found in client.jobs.events("job_1", reconnect_pause_s=0)] == [1, 2, 3]
    assert [request.headers["Last-Event-ID"] for request in server.requests if "Last-Event-ID" in request.headers] == [
        *("0", "2", "2")
    ]


def test_a_job_that_is_gone_ends_the_events_at_once(
    client: Client, server: Canned, make_problem: Callable[..., httpx.Response]
) -> None:
    server.says(stream([1], done=False), make_problem(404, "not_found", "no such job"))
    with pytest.raises(rlt_client.NotFoundError):
        list(client.jobs.events("job_1", reconnect_pause_s=0))


def test_waiting_goes_on_over_a_restart_and_reports_no_event_twice(
    client: Client, server: Canned, make_job: Bodies
) -> None:
    refused = httpx.ConnectError("refused")
    first, second = ({"data": [event(1)], "has_more": True}, {"data": [event(2)]})
    server.says(httpx.Response(200, json=make_job("running")), httpx.Response(200, json=first), refused, refused)
    server.says(httpx.Response(200, json=second), refused, httpx.Response(200, json=make_job("failed")))
    server.says(refused, httpx.Response(200, json={"data": [event(3, "failed")]}))
    seen: list[int] = []
    job = client.jobs.wait("job_1", on_event=lambda found: seen.append(found.seq), poll_s=0)
    assert (job.status, seen) == ("failed", [1, 2, 3])


def test_waiting_reports_every_event_once_and_gives_the_end(client: Client, server: Canned, make_job: Bodies) -> None:
    pages = [{"data": [event(1)], "has_more": True}, {"data": [event(2)]}, {"data": [event(3, "failed")]}]
    server.says(
        httpx.Response(200, json=make_job("running")),
        httpx.Response(200, json=pages[0]),
        httpx.Response(200, json=pages[1]),
        httpx.Response(200, json=make_job("failed")),
        httpx.Response(200, json=pages[2]),
    )
    seen: list[int] = []
    job = client.jobs.wait("job_1", on_event=lambda found: seen.append(found.seq), poll_s=0)
    assert (job.status, seen) == ("failed", [1, 2, 3])


def test_waiting_ends_with_its_time(client: Client, server: Canned, make_job: Bodies) -> None:
    server.says(*[httpx.Response(200, json=make_job("running")) for _ in range(3)])
    with pytest.raises(rlt_client.APITimeoutError, match="still running"):
        client.jobs.wait("job_1", poll_s=0, timeout_s=0)


def test_a_connection_that_has_gone_silent_is_left_after_a_minute_and_taken_up_again(
    client: Client, server: Canned, make_job: Bodies
) -> None:
    server.says(stream([1], done=False), httpx.Response(200, json=make_job("running")))
    server.says(httpx.ReadTimeout("silent"), httpx.Response(200, json=make_job("running")), stream([2], done=True))
    assert [found.seq for found in client.jobs.events("job_1", reconnect_pause_s=0)] == [1, 2]
    assert [request.extensions["timeout"]["read"] for request in server.requests] == [60.0, 600.0, 60.0, 600.0, 60.0]
