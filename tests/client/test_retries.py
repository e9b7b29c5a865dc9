"""What is sent again, when, and what never is: the same for both clients."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

import rlt_client
from rlt_client import Client
from rlt_client._problems import seconds_of
from rlt_client._retries import Retries
from tests.client.conftest import Asking

Bodies = Callable[..., dict[str, Any]]
Problems = Callable[..., httpx.Response]

SPEC = {"kind": "rl", "dataset": "ds_1", "target_name": "algebra"}
DATASET = {
    "id": "ds_1",
    "created_at": "2030-01-01T00:00:00Z",
    "rows": 1,
    "size_bytes": 9,
    "sha256": "00",
    "columns": ["question"],
}
ROW = {"question": "q", "solution": "s"}


def busy(make_problem: Problems, after: str | None = None) -> httpx.Response:
    found = make_problem(503, "engine_unavailable", "it starts", retryable=True)
    del found.headers["Retry-After"]
    if after is not None:
        found.headers["Retry-After"] = after
    return found


def keys(asking: Asking) -> list[str | None]:
    return [request.headers.get("Idempotency-Key") for request in asking.server.requests]


def test_what_passes_is_asked_again_and_answers(
    asking: Asking, pauses: list[float], make_job: Bodies, make_problem: Problems
) -> None:
    asking.server.says(httpx.ReadError("cut"), busy(make_problem), httpx.Response(200, json=make_job()))
    assert asking.ask(lambda client: client.jobs.get("job_1")).id == "job_1"
    assert len(pauses) == 2
    assert 0 <= pauses[0] <= 0.5
    assert 0 <= pauses[1] <= 1.0


def test_after_two_repeats_the_last_error_is_raised(asking: Asking, pauses: list[float]) -> None:
    asking.server.says(*[httpx.ConnectError(str(number)) for number in range(4)])
    with pytest.raises(rlt_client.APIConnectionError, match=r"\(2\)"):
        asking.ask(lambda client: client.jobs.get("job_1"))
    assert len(asking.server.requests) == 3


@pytest.mark.parametrize("retries", [0, 1, 5])
def test_a_client_says_how_often(asking: Asking, pauses: list[float], retries: int) -> None:
    asking.server.says(*[httpx.ReadTimeout("slow")] * 9)
    with pytest.raises(rlt_client.APITimeoutError):
        asking.ask(lambda client: client.explain(question="q", solution="s"), max_retries=retries)
    assert len(asking.server.requests) == retries + 1


def test_what_does_not_pass_is_not_asked_again(asking: Asking, pauses: list[float], make_problem: Problems) -> None:
    asking.server.says(make_problem(422, "invalid_request", "no"), make_problem(422, "invalid_request", "no"))
    with pytest.raises(rlt_client.UnprocessableEntityError):
        asking.ask(lambda client: client.explain(question="q", solution="s"))
    assert (len(asking.server.requests), pauses) == (1, [])


def test_a_retry_after_is_waited_for_whole(
    asking: Asking, pauses: list[float], make_job: Bodies, make_problem: Problems
) -> None:
    asking.server.says(busy(make_problem, "7"), httpx.Response(200, json=make_job()))
    asking.ask(lambda client: client.jobs.get("job_1"))
    assert 7.0 <= pauses[0] <= 7.5


def test_a_retry_after_beyond_patience_is_the_callers(
    asking: Asking, pauses: list[float], make_problem: Problems
) -> None:
    asking.server.says(busy(make_problem, "3600"))
    with pytest.raises(rlt_client.ServiceUnavailableError) as caught:
        asking.ask(lambda client: client.jobs.get("job_1"))
    assert (caught.value.retry_after_s, pauses) == (3600.0, [])


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("Tue, 01 Jan 2030 00:00:30 GMT", 30.0),
        ("Mon, 31 Dec 2029 23:59:00 GMT", 0.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        (None, None),
    ],
)
def test_a_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert seconds_of(header, now=datetime(2030, 1, 1, tzinfo=UTC)) == seconds


def test_a_write_goes_under_one_key_for_all_its_repeats(
    asking: Asking, pauses: list[float], make_job: Bodies, make_problem: Problems
) -> None:
    asking.server.says(httpx.ReadError("cut"), busy(make_problem), httpx.Response(202, json=make_job()))
    asking.server.says(httpx.Response(202, json=make_job()))
    asking.ask(lambda client: client.train(SPEC))
    asking.ask(lambda client: client.train(SPEC))
    first, second, third, other = keys(asking)
    assert first is not None
    assert first == second == third != other


def test_a_key_of_the_callers_is_taken(asking: Asking, pauses: list[float], make_job: Bodies) -> None:
    asking.server.says(httpx.ReadError("cut"), httpx.Response(202, json=make_job()))
    asking.ask(lambda client: client.train(SPEC, idempotency_key="mine"))
    assert keys(asking) == ["mine", "mine"]


def test_a_call_still_running_under_the_key_is_waited_for(
    asking: Asking, pauses: list[float], make_job: Bodies, make_problem: Problems
) -> None:
    running = make_problem(409, "idempotency_in_progress", "still running", retryable=True)
    asking.server.says(httpx.ReadTimeout("slow"), running, httpx.Response(202, json=make_job()))
    assert asking.ask(lambda client: client.train(SPEC)).id == "job_1"


def test_without_repeats_no_key_is_made_up(asking: Asking, make_job: Bodies) -> None:
    asking.server.says(httpx.Response(202, json=make_job()))
    asking.ask(lambda client: client.train(SPEC), max_retries=0)
    assert keys(asking) == [None]


def test_what_can_be_read_once_only_is_sent_once_and_without_a_key(asking: Asking, pauses: list[float]) -> None:
    asking.server.says(httpx.ReadError("cut"), httpx.Response(201, json=DATASET))
    with pytest.raises(rlt_client.APIConnectionError):
        asking.ask(lambda client: client.datasets.create(row for row in [ROW]))
    assert keys(asking) == [None]


def test_rows_of_a_list_are_sent_whole_again(asking: Asking, pauses: list[float]) -> None:
    asking.server.says(httpx.ReadError("cut"), httpx.Response(201, json=DATASET))
    asking.ask(lambda client: client.datasets.create([ROW]))
    first, second = asking.server.requests
    assert first.content == second.content != b""


def test_a_read_and_a_calculation_carry_no_key(asking: Asking, make_explanations: Bodies, make_job: Bodies) -> None:
    asking.server.says(httpx.Response(200, json=make_explanations()), httpx.Response(200, json=make_job()))
    asking.ask(lambda client: client.explain(question="q", solution="s"))
    asking.ask(lambda client: client.jobs.cancel("job_1"))
    assert keys(asking) == [None, None]


def test_a_stream_is_opened_again_and_never_taken_up_in_the_middle(asking: Asking, pauses: list[float]) -> None:
    begun = httpx.Response(200, text='event: delta\ndata: {"index": 0, "text": "a"}\n\n')
    asking.server.says(httpx.ConnectError("refused"), begun)
    with pytest.raises(rlt_client.APIConnectionError, match="broke off"):
        asking.ask(lambda client: streamed(client, asking.kind))
    assert len(asking.server.requests) == 2


def streamed(client: Any, kind: str) -> Any:
    found = client.explain.stream(question="q", solution="s")
    return found if kind == "async" else list(found)


def test_options_are_changed_on_the_same_connections(client: Client, server: Any, make_job: Bodies) -> None:
    server.says(*[httpx.Response(200, json=make_job()) for _ in range(3)])
    with client.with_options(timeout=httpx.Timeout(9, read=3), max_retries=1) as other:
        other.jobs.get("job_1")
    client.jobs.get("job_1")
    client.with_options(timeout=2.5).jobs.get("job_1")
    timeouts = [request.extensions["timeout"] for request in server.requests]
    assert timeouts[0] == {"connect": 9, "read": 3, "write": 9, "pool": 9}
    assert timeouts[1] == {"connect": 5.0, "read": 600.0, "write": 600.0, "pool": 600.0}
    assert timeouts[2] == {"connect": 2.5, "read": 2.5, "write": 2.5, "pool": 2.5}


def test_a_pool_of_the_callers_stays_open(server: Any, make_job: Bodies) -> None:
    server.says(*[httpx.Response(200, json=make_job()) for _ in range(2)])
    with httpx.Client(transport=server.transport(), base_url="http://elsewhere.test") as pool:
        for _ in range(2):
            with Client("http://rlt.test", http_client=pool) as client:
                client.jobs.get("job_1")
    assert {request.url.host for request in server.requests} == {"rlt.test"}


def test_jitter_is_anything_up_to_a_bound_that_doubles() -> None:
    retries, error = Retries(max_retries=9), rlt_client.APIConnectionError("cut")
    for failures, bound in [(1, 0.5), (2, 1.0), (3, 2.0), (5, 8.0), (9, 8.0)]:
        drawn = [retries.pause_s(error, failures=failures) for _ in range(200)]
        assert all(pause is not None and 0 <= pause <= bound for pause in drawn)
        assert max(pause or 0 for pause in drawn) > bound / 2 > min(pause or 0 for pause in drawn)
    assert retries.pause_s(error, failures=10) is None


def test_fewer_than_no_retries_are_refused() -> None:
    with pytest.raises(ValueError, match="max_retries is -1"):
        Client(max_retries=-1)


def test_an_error_has_openais_names_beside_its_own(client: Client, server: Any, make_problem: Problems) -> None:
    server.says(make_problem(404, "not_found", "no such job"))
    with pytest.raises(rlt_client.NotFoundError) as caught:
        client.jobs.get("job_1")
    error = caught.value
    assert (error.status_code, error.status, error.message, error.detail) == (404, 404, "no such job", "no such job")
    assert isinstance(error.body, dict)
    assert error.body["code"] == error.code
    nobody = rlt_client.APIConnectionError("cut")
    assert (nobody.status_code, nobody.request_id, nobody.body) == (None, None, None)
