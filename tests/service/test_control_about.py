"""What the server says of itself."""

from collections.abc import Iterator

import pytest

from rlt_core.formats import STRATOS_1
from rlt_service.control.about import MAX_BATCH_ITEMS, MAX_SAMPLES
from tests.support.control import Control, check_problem, control_app


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home"), max_model_len=999, max_dataset_bytes=12_345) as made:
        yield made


def test_models_are_every_callable_name_in_openai_form(control: Control) -> None:
    control.version("algebra")
    found = control.http.get("/v1/models").json()
    assert found["object"] == "list"
    assert {card["id"] for card in found["data"]} == {"default", "fake", "fake@0", "algebra", "algebra@1"}
    assert all(card["object"] == "model" and card["created"] > 0 for card in found["data"])


def test_formats_give_tags_and_instructions(control: Control) -> None:
    listed = control.http.get("/v1/formats").json()["data"]
    assert [found["id"] for found in listed] == ["stratos@1", "r1@1"]
    assert [control.http.get(f"/v1/formats/{found['id']}").json() for found in listed] == listed
    assert listed[1]["tags"] == {
        "thought_open": "<think>",
        "thought_close": "</think>",
        "solution_open": "",
        "solution_close": "",
        "explanation_open": "<think>",
        "explanation_close": "</think>",
    }
    assert listed[0]["tags"]["explanation_close"] == STRATOS_1.explanation_close
    assert listed[0]["instructions"]["student"] == STRATOS_1.student_instruction


def test_a_folded_format_is_readable_under_its_own_id(control: Control) -> None:
    assert control.http.get("/v1/formats/stratos@1+folded").json()["id"] == "stratos@1+folded"


@pytest.mark.parametrize("format_id", ["stratos@2", "stratos", "STRATOS@1", "stratos@1%0A", "..%2Fx", "stratos@1+bent"])
def test_an_unknown_format_is_a_404(control: Control, format_id: str) -> None:
    answer = control.http.get(f"/v1/formats/{format_id}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_capabilities_are_those_of_this_process(control: Control) -> None:
    found = control.http.get("/v1/capabilities").json()
    assert (found["engine"]["name"], found["engine"]["max_model_len"]) == ("fake", 999)
    assert found["formats"] == ["stratos@1"]
    assert found["limits"]["max_dataset_bytes"] == 12_345
    assert found["job_kinds"] == ["warmup", "rl", "collect", "distill", "evaluate", "rlvr", "pipeline"]
    assert "default" in found["models"]


def test_the_limits_that_are_told_are_those_that_hold(control: Control) -> None:
    question = {"question": "1+1?", "solution": "2", "max_tokens": 4}
    assert control.http.post("/v1/explain", json={**question, "n": MAX_SAMPLES}).status_code == 200
    check_problem(
        control.http.post("/v1/explain", json={**question, "n": MAX_SAMPLES + 1}), 422, "invalid_request", "/n"
    )
    too_many = {"items": [question] * (MAX_BATCH_ITEMS + 1)}
    check_problem(control.http.post("/v1/explain/batch", json=too_many), 422, "invalid_request", "/items")


def test_every_control_route_is_described(control: Control) -> None:
    described = control.http.get("/openapi.json").json()["paths"]
    assert {
        "/v1/train",
        "/v1/jobs/{job_id}/events",
        "/v1/jobs/{job_id}/rollouts",
        "/v1/datasets",
        "/v1/students/{name}/versions/{number}/lineage",
        "/v1/aliases/{role}/{alias}/rollback",
        "/v1/evaluations/{evaluation_id}/rows",
        "/v1/capabilities",
    } <= described.keys()
    body = described["/v1/train"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body["discriminator"]["propertyName"] == "kind"
