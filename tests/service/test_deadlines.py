"""X-Request-Timeout-Ms: when it has passed, the work is ended and the caller is told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from tests.support.control import check_problem
from tests.support.service import running_app, services_of
from tests.support.streams import events_of

GOOD = {"question": "?", "solution": "42"}
SCORE = GOOD | {"explanations": ["a"]}
CALLS = [
    ("/v1/explain", GOOD),
    ("/explain", GOOD),
    ("/v1/explain", GOOD | {"stream": True}),
    ("/v1/explain/batch", {"items": [GOOD, GOOD]}),
    ("/v1/score", SCORE),
    ("/score", SCORE),
    ("/v1/score/batch", {"items": [SCORE]}),
]
HEADER = "X-Request-Timeout-Ms"


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Start a server that needs a minute for anything; the pieces of a stream come 2 s apart."""
    with running_app(tmp_path_factory.mktemp("home"), engine=FakeEngine(FakeOptions(delay_s=60.0))) as client:
        yield client


def in_flight(client: TestClient) -> int:
    engine = services_of(client).engine
    assert engine is not None
    assert client.portal is not None
    return client.portal.call(engine.health).in_flight


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_a_deadline_ends_the_work_and_answers_504(slow: TestClient, path: str, body: dict[str, Any]) -> None:
    found = check_problem(slow.post(path, json=body, headers={HEADER: "300"}), 504, "deadline_exceeded")
    assert found["retryable"]
    assert "0.3 s" in found["detail"]
    assert (in_flight(slow), services_of(slow).in_hand.requests) == (0, 0)


def test_a_deadline_within_a_stream_is_an_error_event(slow: TestClient) -> None:
    answer = slow.post("/v1/explain", json=GOOD | {"stream": True}, headers={HEADER: "3000"})
    assert answer.status_code == 200
    events = events_of(answer.text)
    assert [name for name, _ in events] == ["delta", "error"]
    assert (events[-1][1]["status"], events[-1][1]["code"]) == (504, "deadline_exceeded")
    assert (in_flight(slow), services_of(slow).in_hand.requests) == (0, 0)


def test_the_servers_own_limit_holds_with_and_without_a_header(tmp_path: Path) -> None:
    engine = FakeEngine(FakeOptions(delay_s=60.0))
    with running_app(tmp_path, engine=engine, max_request_timeout_s=0.25) as client:
        for headers in ({}, {HEADER: "60000"}):
            answer = client.post("/v1/explain", json=GOOD, headers=headers)
            assert "0.25 s" in check_problem(answer, 504, "deadline_exceeded")["detail"]


@pytest.mark.parametrize(("path", "body"), CALLS)
@pytest.mark.parametrize("value", ["0", "-5", "soon", "1.5", "", "1e3", "9" * 40])
def test_a_deadline_that_is_none_is_refused(slow: TestClient, path: str, body: dict[str, Any], value: str) -> None:
    answer = slow.post(path, json=body, headers={HEADER: value})
    check_problem(answer, 422, "invalid_request", f"/{HEADER}")


def test_work_that_is_done_in_time_is_not_disturbed(app_client: TestClient) -> None:
    assert app_client.post("/v1/explain", json=GOOD, headers={HEADER: "60000"}).status_code == 200
