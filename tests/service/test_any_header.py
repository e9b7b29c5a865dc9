"""Whatever stands in a header that the server reads, the answer is one of the contract's."""

from collections.abc import Iterator

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.support.service import running_app

EXPLAIN = {"question": "1 + 1?", "solution": "2", "max_tokens": 4}
READ = (
    "X-Request-Timeout-Ms",
    "RLT-Flow",
    "Idempotency-Key",
    "X-Request-Id",
    "Last-Event-ID",
    "Accept",
    "Content-Type",
    "Content-Encoding",
    "Origin",
    "Sec-Fetch-Site",
    "Host",
)
USUAL = st.sampled_from(
    [b"0", b"1", b"-1", b"1e9", b"60000", b" ", b"k", b"application/json", b"text/event-stream", b"http://["]
)
VALUES = USUAL | st.binary(max_size=30).map(lambda value: value.translate(None, b"\r\n\x00"))
CALLS = (
    ("POST", "/v1/explain", EXPLAIN),
    ("GET", f"/v1/jobs/job_{'0' * 20}/events", None),
    ("DELETE", f"/v1/datasets/ds_{'0' * 20}", None),
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running_app(tmp_path_factory.mktemp("home")) as made:
        yield made


@example(headers={"Origin": b"http://["}, call=CALLS[0])
@example(headers={"X-Request-Timeout-Ms": b"1"}, call=CALLS[0])
@given(headers=st.dictionaries(st.sampled_from(READ), VALUES, max_size=4), call=st.sampled_from(CALLS))
def test_any_header_is_read_or_refused(
    client: TestClient, headers: dict[str, bytes], call: tuple[str, str, dict[str, object] | None]
) -> None:
    method, path, body = call
    answer = client.request(method, path, json=body, headers=headers)  # pyright: ignore[reportArgumentType] - bytes
    assert answer.status_code in (200, 403, 404, 409, 415, 422, 504), answer.text
    assert answer.headers["x-request-id"]
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
