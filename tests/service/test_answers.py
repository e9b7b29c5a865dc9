"""What every answer has in common: problems, request ids, paths and roles that are not here, the contract's file."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from rlt_core.errors import NotFoundError
from rlt_service.app import ROUTERS
from rlt_service.engine.fake_engine import FakeEngine
from rlt_service.engine.protocol import GenerateRequest, GenerateResult
from rlt_service.problems import answer_of, problem_of
from tests.support.control import check_problem
from tests.support.service import make_app, running_app, services_of

GOOD = {"question": "What is 17 + 25?", "solution": "42"}


class Breaking(FakeEngine):
    """Breaks as only a mistake of ours can."""

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        raise RuntimeError("a secret of the inside")


def test_every_answer_has_a_request_id(app_client: TestClient) -> None:
    answers = [
        app_client.get("/healthz"),
        app_client.post("/v1/explain", json=GOOD),
        app_client.post("/v1/explain", json={}),
        app_client.get("/nothing"),
    ]
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    assert len(set(ids)) == 4
    assert answers[2].json()["request_id"] == ids[2]


@pytest.mark.parametrize("given", ["a", "Trace-1.2_3", "x" * 128])
def test_a_harmless_request_id_is_echoed(app_client: TestClient, given: str) -> None:
    answer = app_client.post("/v1/explain", json={}, headers={"X-Request-Id": given})
    assert (answer.headers["X-Request-Id"], answer.json()["request_id"]) == (given, given)


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "<script>", "a\tb", "ä"])
def test_any_other_request_id_is_replaced(app_client: TestClient, given: str) -> None:
    answer = app_client.get("/healthz", headers={b"X-Request-Id": given.encode("latin-1")})
    assert answer.headers["X-Request-Id"].startswith("req_")


def test_a_problem_says_the_same_to_clients_of_openai(app_client: TestClient) -> None:
    found = app_client.post("/v1/explain", json=GOOD | {"n": 0}).json()
    assert found["error"] == {
        "message": found["detail"],
        "type": "invalid_request_error",
        "param": "/n",
        "code": "invalid_request",
    }
    assert (found["type"], found["retryable"]) == ("urn:rlt:problem:invalid_request", False)


def test_a_message_that_quotes_half_a_surrogate_pair_can_be_sent() -> None:
    answer = answer_of(NotFoundError("there is no \ud800", param="/\udfff"), request_id="r")
    found = json.loads(bytes(answer.body))
    assert (found["detail"], found["param"]) == ("there is no ?", "/?")


def test_a_problem_keeps_what_its_error_adds_but_not_over_its_own_members() -> None:
    found = problem_of(NotFoundError("gone", extra={"lines": [1], "status": 200}), request_id="r").model_dump()
    assert (found["lines"], found["status"]) == ([1], 404)


@pytest.mark.parametrize("path", ["/nothing", "/v1", "/v1/explain/", "/v1/explain/batch/x"])
def test_unknown_paths_are_problems(app_client: TestClient, path: str) -> None:
    assert "/openapi.json" in check_problem(app_client.post(path, json=GOOD), 404, "not_found")["detail"]


def test_a_refused_method_is_told_all_that_the_path_takes(app_client: TestClient) -> None:
    """By more than one route: the framework names the methods of the first alone."""
    for path, methods in (
        ("/v1/datasets", "GET, POST"),
        ("/v1/datasets/ds_1", "DELETE, GET"),
        ("/v1/aliases/teacher/a/shadow", "DELETE, GET, PUT"),
        ("/v1/explain", "POST"),
    ):
        assert app_client.patch(path).headers["allow"] == methods


def test_wrong_methods_are_problems(app_client: TestClient) -> None:
    answer = app_client.get("/v1/explain")
    assert "does not take GET" in check_problem(answer, 405, "method_not_allowed")["detail"]
    assert answer.headers["Allow"] == "POST"


def test_paths_of_later_work_say_so(app_client: TestClient) -> None:
    check_problem(app_client.get("/docs"), 501, "not_available_yet")


def test_what_nobody_foresaw_is_a_500_without_its_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running_app(tmp_path, engine=Breaking()) as client:
        answer = client.post("/v1/explain", json=GOOD, headers={"X-Request-Id": "find-me"})
        found = check_problem(answer, 500, "internal_error")
        assert ("find-me" in found["detail"], answer.headers["X-Request-Id"]) == (True, "find-me")
        assert "secret" not in answer.text
        assert "a secret of the inside" in caplog.text
        assert "find-me" in caplog.text


def test_a_call_of_a_role_that_is_not_played_names_it(tmp_path: Path) -> None:
    with running_app(tmp_path, roles=("student",)) as client:
        for path, role in (("/v1/explain", "teacher"), ("/train", "control"), ("/v1/jobs/job_1/cancel", "control")):
            found = check_problem(client.post(path, json=GOOD), 404, "not_found")
            assert f"the role {role}, which this process does not play (it plays student)" in found["detail"]
        assert client.post("/v1/score", json=GOOD | {"explanations": ["4"]}).status_code == 200


def test_control_alone_needs_no_engine(tmp_path: Path) -> None:
    with running_app(tmp_path, roles=("control",)) as client:
        assert services_of(client).engine is None
        assert client.get("/readyz").json()["checks"].keys() == {"database", "artifacts", "broker"}
        check_problem(client.post("/v1/explain", json=GOOD), 404, "not_found")


def test_a_process_without_roles_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="RLT_ROLES is empty"):
        make_app(tmp_path, roles=())


def test_the_contract_describes_every_error_as_a_problem(app_client: TestClient) -> None:
    described = app_client.get("/openapi.json").json()
    operations: list[Any] = [operation for path in described["paths"].values() for operation in path.values()]
    assert {"/v1/explain", "/v1/score", "/v1/explain/batch", "/v1/score/batch", "/v1/train"} <= set(described["paths"])
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    refusals = [
        (status, answer) for one in operations for status, answer in one["responses"].items() if status[0] in "45"
    ]
    # Not ready is no error: its body says what is missing.
    assert [answer for _, answer in refusals if answer["content"] != problem] == [
        described["paths"]["/readyz"]["get"]["responses"]["503"]
    ]
    assert all("5XX" in one["responses"] for one in operations)
    assert all("X-Request-Id" in answer["headers"] for one in operations for answer in one["responses"].values())
    assert all(answer["headers"]["Retry-After"]["required"] for status, answer in refusals if status in ("429", "503"))
    assert "HTTPValidationError" not in described["components"]["schemas"]
    assert "Problem" in described["components"]["schemas"]
    schemas = described["components"]["schemas"]
    for name, item in (("ExplainItems", "ExplainRequest"), ("ScoreItems", "ScoreRequest")):
        batch = schemas[name]["properties"]["items"]
        assert (batch["minItems"], batch["maxItems"]) == (1, 256)
        assert batch["items"]["properties"].keys() == schemas[item]["properties"].keys()


CALLS = [
    (method, route.path)
    for routers in ROUTERS.values()
    for router in routers
    for route in router.routes
    if isinstance(route, APIRoute)
    for method in sorted(route.methods - {"GET", "HEAD"})
]
PLACES = {
    "number": "1",
    "job_id": "job_" + "0" * 20,
    "dataset_id": "ds_" + "0" * 20,
    "role": "teacher",
    "alias": "a",
    "name": "a",
    "project": "a",
    "key_id": "a" * 12,
}


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_every_call_that_does_something_takes_an_idempotency_key(
    app_client: TestClient, method: str, path: str
) -> None:
    described = app_client.get("/openapi.json").json()["paths"]
    if path in described:
        names = [parameter["name"] for parameter in described[path][method.lower()].get("parameters", [])]
        assert "Idempotency-Key" in names
    answer = app_client.request(method, path.format_map(PLACES), json={}, headers={"Idempotency-Key": " "})
    check_problem(answer, 422, "invalid_request", "/Idempotency-Key")


def test_every_reference_of_the_contract_leads_somewhere(app_client: TestClient) -> None:
    described = app_client.get("/openapi.json").json()
    for reference in _references(described):
        place: Any = described
        for step in reference.removeprefix("#/").split("/"):
            assert step in place, reference
            place = place[step]


def test_every_link_of_the_contract_fills_the_path_of_a_call(app_client: TestClient) -> None:
    paths = app_client.get("/openapi.json").json()["paths"]
    operations: list[Any] = [operation for methods in paths.values() for operation in methods.values()]
    by_id = {operation["operationId"]: operation for operation in operations}
    links = [
        link
        for operation in operations
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    assert len(links) >= 20
    for link in links:
        parameters = by_id[link["operationId"]]["parameters"]
        assert link["parameters"].keys() == {one["name"] for one in parameters if one["in"] == "path"}


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from [target for key, target in value.items() if key == "$ref"]
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _references(child)
