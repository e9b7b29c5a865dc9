"""The service on Postgres as its callers see it: a database that goes and comes back, and text that it cannot hold."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.control import Control, check_problem, control_app
from tests.support.postgres import Postgres, own_postgres, postgres_url
from tests.support.waiting import wait_until


@pytest.fixture
def server() -> Iterator[Postgres]:
    with own_postgres() as server:
        yield server


def spec(dataset: str, **more: object) -> dict[str, object]:
    return {"kind": "rl", "dataset": dataset, "target_name": "made", **more}


def test_a_database_that_restarts_under_the_service_is_503_meanwhile_and_heals_by_itself(
    server: Postgres, tmp_path: Path
) -> None:
    with control_app(tmp_path, database_url=server.url("postgres")) as control:
        dataset = control.upload()
        first = control.http.post("/v1/train", json=spec(dataset))
        assert first.status_code == 202, first.text
        server.stop()
        away = control.http.post("/v1/train", json=spec(dataset))
        check_problem(away, 503, "storage_unavailable")
        assert "retry-after" in away.headers
        assert control.http.get("/healthz").status_code == 200
        assert control.http.get("/readyz").status_code == 503
        server.start()
        assert control.http.post("/v1/train", json=spec(dataset)).status_code == 202
        assert len(control.http.get("/v1/jobs").json()["data"]) == 2
        wait_until(lambda: control.http.get("/readyz").status_code == 200, what="the service is ready again")


@pytest.fixture
def control(tmp_path: Path, database_url: str) -> Iterator[Control]:
    with control_app(tmp_path, database_url=database_url) as control:
        yield control


def test_names_and_reasons_with_nul_are_422_and_ids_with_nul_are_not_there(control: Control) -> None:
    dataset = control.upload()
    check_problem(control.http.post("/v1/train", json=spec(dataset, name="a\x00b")), 422, "invalid_request")
    assert control.http.get("/v1/jobs/job_%00").status_code == 404
    assert control.http.get("/v1/jobs?after=%00").status_code == 422
    assert control.http.get("/v1/teachers/%00/versions").status_code == 404
    served = control.alias("teacher", "default")
    moved = {"version": control.version("algebra"), "expected": served, "gate": "none", "reason": "a\x00b"}
    check_problem(control.http.put("/v1/aliases/teacher/default", json=moved), 422, "invalid_request")
    assert control.alias("teacher", "default") == served
    asked = {"question": "a\x00b?", "solution": "2"}
    assert control.http.post("/explain", json=asked).status_code == 200
    assert control.http.get("/v1/jobs").json()["data"] == []


@pytest.fixture
def control_on_postgres(tmp_path: Path) -> Iterator[Control]:
    with postgres_url() as url, control_app(tmp_path, database_url=url) as control:
        yield control


def test_a_burst_of_calls_waits_for_connections_and_all_are_answered(control_on_postgres: Control) -> None:
    control = control_on_postgres
    dataset = control.upload()

    def call(number: int) -> int:
        if number % 8 == 0:
            return control.http.post("/v1/train", json=spec(dataset)).status_code
        return control.http.get("/v1/jobs?limit=1").status_code

    with ThreadPoolExecutor(max_workers=512) as pool:
        found = list(pool.map(call, range(512)))
    assert sorted(set(found)) == [200, 202]
    assert found.count(202) == 64
