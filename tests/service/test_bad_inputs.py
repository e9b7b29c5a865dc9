"""Every row of the table of bad inputs gets its documented answer, stores nothing, and is answered soon."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.service.bad_inputs import GROUPS, TABLE
from tests.support import bad_input_kinds as kinds
from tests.support.bad_input import BadInput, request_of
from tests.support.bad_input_server import BadInputServer, bad_input_server
from tests.support.control import check_problem

SOON_S = 2.0
"""Ten times what is promised: machines are slow now and then."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BadInputServer]:
    with bad_input_server(tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_a_bad_input_gets_its_documented_answer_and_leaves_nothing_behind(
    server: BadInputServer, row: BadInput
) -> None:
    before = server.stored()
    began_s = time.monotonic()
    answer = server.control.http.request(**request_of(row, server.names))
    seconds = time.monotonic() - began_s
    found = check_problem(answer, row.status, row.code, row.param)
    assert row.why in found["detail"], found["detail"]
    assert found["request_id"] == answer.headers["x-request-id"]
    assert found["error"]["message"] == found["detail"]
    assert found["status"] == row.status
    assert seconds < SOON_S
    assert server.stored() == before


@pytest.mark.parametrize(
    "row", [row for row in TABLE if row.call == "POST /v1/train" and not row.headers], ids=lambda row: row.name
)
def test_a_dry_run_refuses_what_a_submission_refuses(server: BadInputServer, row: BadInput) -> None:
    request = request_of(row, server.names)
    answer = server.control.http.request(**{**request, "url": f"{request['url']}?dry_run=true"})
    check_problem(answer, row.status, row.code, row.param)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/score/batch"),
        ("POST", "/v1/train"),
        ("POST", "/v1/students/fresh/versions"),
        ("POST", "/v1/jobs/$job_running/rollouts"),
        ("PUT", "/v1/aliases/teacher/main"),
        ("PUT", "/v1/aliases/teacher/main/shadow"),
    ],
)
def test_every_call_that_reads_json_refuses_the_same_bodies(server: BadInputServer, method: str, path: str) -> None:
    rows = [row for row in GROUPS["Bodies, whatever the call"] if row.status != 422]
    for row in rows:
        request = request_of(replace(row, call=f"{method} {path}"), server.names)
        check_problem(server.control.http.request(**request), row.status, row.code, row.param)


@pytest.mark.parametrize("path", ["/explain", "/score"])
def test_the_short_paths_refuse_alike(server: BadInputServer, path: str) -> None:
    for row in TABLE:
        if row.call == f"POST /v1{path}" and "used" not in row.headers.values():
            answer = server.control.http.request(**{**request_of(row, server.names), "url": path})
            check_problem(answer, row.status, row.code, row.param)


def test_the_good_calls_that_the_rows_spoil_are_themselves_answered(server: BadInputServer) -> None:
    good: list[BadInput] = [
        BadInput(name="", call=kinds.EXPLAIN, body=kinds.QUESTION, why=""),
        BadInput(name="", call=kinds.SCORE, body=kinds.SCORED, why=""),
        BadInput(
            name="", call=kinds.SCORE, body=kinds.SCORED | {"explanations": [{"tokens": "$tokens_as_given"}]}, why=""
        ),
        BadInput(name="", call=f"{kinds.TRAIN}?dry_run=true", body=kinds.RL, why=""),
        BadInput(name="", call=f"{kinds.TRAIN}?dry_run=true", body=kinds.WARMUP, why=""),
    ]
    for row in good:
        answer: Any = server.control.http.request(**request_of(row, server.names))
        assert answer.status_code == 200, answer.text


def test_the_rows_differ_and_are_at_least_eighty() -> None:
    assert len(TABLE) >= 80
    assert [name for name, count in Counter(row.name for row in TABLE).items() if count > 1] == []
    asked = Counter((row.call, repr(row.body), repr(sorted(row.headers.items()))) for row in TABLE)
    assert [call for call, count in asked.items() if count > 1] == []
