import pickle
from collections.abc import Callable

import httpx
import pytest

import rlt_client
from rlt_client import APIError, APIStatusError, Client
from rlt_core.errors import RltError
from tests.client.conftest import Canned

Problems = Callable[..., httpx.Response]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, rlt_client.BadRequestError),
        (401, rlt_client.AuthenticationError),
        (403, rlt_client.PermissionDeniedError),
        (404, rlt_client.NotFoundError),
        (409, rlt_client.ConflictError),
        (413, rlt_client.PayloadTooLargeError),
        (415, rlt_client.APIStatusError),
        (422, rlt_client.UnprocessableEntityError),
        (429, rlt_client.RateLimitError),
        (500, rlt_client.InternalServerError),
        (501, rlt_client.InternalServerError),
        (503, rlt_client.ServiceUnavailableError),
    ],
)
def test_each_status_has_its_class(
    client: Client, server: Canned, make_problem: Problems, status: int, kind: type[APIStatusError]
) -> None:
    server.says(make_problem(status, "some_code", "some detail"))
    with pytest.raises(kind) as caught:
        client.jobs.get("job_1")
    assert type(caught.value) is kind
    assert caught.value.status == status
    assert isinstance(caught.value, RltError)


def test_an_error_keeps_all_that_the_problem_says(client: Client, server: Canned, make_problem: Problems) -> None:
    lines = [{"line": 3, "message": "no solution"}]
    server.says(make_problem(503, "engine_unavailable", "it starts", param="/teacher", retryable=True, lines=lines))
    with pytest.raises(APIStatusError) as caught:
        client.explain(question="q", solution="s")
    error = caught.value
    assert (error.code, error.detail, error.param) == ("engine_unavailable", "it starts", "/teacher")
    assert (error.request_id, error.retryable, error.retry_after_s) == ("req_1", True, 7.0)
    assert error.extra == {"lines": lines}
    assert str(error) == "it starts (503 engine_unavailable, request req_1)"


def test_an_error_survives_a_process_border(client: Client, server: Canned, make_problem: Problems) -> None:
    server.says(make_problem(409, "alias_moved", "it points at b@2", param="/expected"))
    with pytest.raises(rlt_client.ConflictError) as caught:
        client.aliases.put("teacher", "default", version="b@3", expected="b@1")
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (type(copy), str(copy), copy.param) == (type(caught.value), str(caught.value), "/expected")


def test_an_answer_without_a_problem_body_is_quoted(client: Client, server: Canned) -> None:
    server.says(httpx.Response(502, text="<html>Bad gateway</html>", headers={"X-Request-Id": "req_9"}))
    with pytest.raises(rlt_client.InternalServerError, match="Bad gateway") as caught:
        client.health()
    assert (caught.value.code, caught.value.request_id, caught.value.retryable) == ("http_502", "req_9", True)


def test_no_server_names_the_command_that_starts_one(client: Client, server: Canned) -> None:
    server.says(httpx.ConnectError("refused"))
    with pytest.raises(rlt_client.APIConnectionError, match="rlt up") as caught:
        client.health()
    assert (caught.value.status, caught.value.retryable) == (503, True)


def test_a_broken_connection_is_a_connection_error(client: Client, server: Canned) -> None:
    server.says(httpx.RemoteProtocolError("cut"))
    with pytest.raises(rlt_client.APIConnectionError, match="broke"):
        client.health()


def test_silence_is_a_timeout_that_says_how_long_it_was(server: Canned) -> None:
    server.says(httpx.ReadTimeout("slow"))
    with (
        Client("http://rlt.test", timeout=3, max_retries=0, transport=server.transport()) as client,
        pytest.raises(rlt_client.APITimeoutError, match="3 s"),
    ):
        client.health()


def test_something_else_behind_the_address_is_said(client: Client, server: Canned) -> None:
    server.says(httpx.Response(200, json={"hello": "world"}))
    with pytest.raises(rlt_client.APIResponseValidationError, match="did not answer with a Job"):
        client.jobs.get("job_1")


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:port", "127.0.0.1:8400"])
def test_a_url_that_is_none_is_said(base_url: str) -> None:
    with pytest.raises(APIError, match="is no URL"), Client(base_url) as client:
        client.health()


def test_a_missing_file_is_an_error_of_the_sdk(client: Client) -> None:
    with pytest.raises(APIError, match="cannot read"):
        client.datasets.create("not-there.jsonl")
