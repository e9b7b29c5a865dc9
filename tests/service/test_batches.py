"""Batches of /v1/explain and /v1/score: items answer in order, and a bad one fails alone."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from rlt_core.schemas.explain import ExplainBatchResponse
from rlt_core.schemas.score import ScoreBatchResponse
from rlt_service.engine.fake_engine import FakeEngine
from rlt_service.engine.protocol import GenerateRequest, GenerateResult
from tests.support.control import Control, check_problem
from tests.support.service import running_app, services_of

GOOD = {"question": "What is 17 + 25?", "solution": "42"}
SCORE = {**GOOD, "explanations": ["4"]}


class Breaking(FakeEngine):
    """Breaks, as only a mistake of ours can, for one seed."""

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        if request.seed == 13:
            raise RuntimeError("a secret of the inside")
        return await super().generate(request)


def post(client: TestClient, path: str, items: Any) -> Any:
    answer = client.post(path, json={"items": items})
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def test_answers_come_in_the_order_of_their_items(app_client: TestClient) -> None:
    items = [GOOD | {"seed": seed, "question": f"What is {seed} + 1?"} for seed in range(8)]
    together = post(app_client, "/v1/explain/batch", items)
    alone = [app_client.post("/v1/explain", json=item).json() for item in items]
    texts = [[one["explanations"][0]["text"] for one in answers] for answers in (together, alone)]
    assert texts[0] == texts[1]


def test_a_batch_of_scores_equals_single_scores(app_client: TestClient) -> None:
    items = [SCORE, SCORE | {"baseline": True, "explanations": ["", "24"]}]
    together = post(app_client, "/v1/score/batch", items)
    alone = [app_client.post("/v1/score", json=item).json() for item in items]
    assert [one["scores"] for one in together] == [one["scores"] for one in alone]


@pytest.mark.parametrize(
    ("bad", "status", "code", "param"),
    [
        (GOOD | {"answer": "42"}, 422, "unknown_field", "/answer"),
        (GOOD | {"solution": ""}, 422, "invalid_request", "/solution"),
        (GOOD | {"teacher": "nobody"}, 404, "model_not_found", "/teacher"),
        (GOOD | {"max_tokens": 10**5}, 422, "prompt_too_long", "/max_tokens"),
        (GOOD | {"stream": True}, 422, "invalid_request", "/stream"),
        ("no object", 422, "invalid_request", ""),
        (None, 422, "invalid_request", ""),
    ],
)
def test_a_bad_item_fails_alone(app_client: TestClient, bad: Any, status: int, code: str, param: str) -> None:
    first, second, third = post(app_client, "/v1/explain/batch", [GOOD, bad, GOOD])
    assert (first["object"], third["object"]) == ("explanation.list", "explanation.list")
    problem = second["problem"]
    assert (second["object"], second["index"]) == ("error", 1)
    assert (problem["status"], problem["code"], problem["param"]) == (status, code, param)


def test_a_bad_score_fails_alone(app_client: TestClient) -> None:
    good, bad = post(app_client, "/v1/score/batch", [SCORE, GOOD])
    assert good["object"] == "score.list"
    assert (bad["index"], bad["problem"]["code"], bad["problem"]["param"]) == (1, "invalid_request", "/explanations")


def test_what_breaks_for_one_item_leaves_the_others_and_keeps_its_secret(tmp_path: Path) -> None:
    with running_app(tmp_path, engine=Breaking()) as client:
        good, broken = post(client, "/v1/explain/batch", [GOOD | {"seed": 1}, GOOD | {"seed": 13}])
        assert good["object"] == "explanation.list"
        assert (broken["problem"]["status"], broken["problem"]["code"]) == (500, "internal_error")
        assert "secret" not in str(broken)


@pytest.mark.parametrize("path", ["/v1/explain/batch", "/v1/score/batch"])
@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "invalid_request", "/items"),
        ({"items": []}, "invalid_request", "/items"),
        ({"items": "all"}, "invalid_request", "/items"),
        ({"items": [GOOD] * 257}, "invalid_request", "/items"),
        ({"items": [GOOD], "itmes": []}, "unknown_field", "/itmes"),
    ],
)
def test_a_batch_that_is_none_is_refused_as_a_whole(
    app_client: TestClient, path: str, body: Any, code: str, param: str
) -> None:
    check_problem(app_client.post(path, json=body), 422, code, param)


def test_headers_name_every_version_of_a_batch_once(tmp_path: Path) -> None:
    with running_app(tmp_path) as client:
        Control(http=client, services=services_of(client)).version("algebra", seed=1)
        items = [GOOD, GOOD | {"teacher": "algebra"}, GOOD | {"teacher": "nobody"}, GOOD]
        answer = client.post("/v1/explain/batch", json={"items": items})
        assert answer.headers["RLT-Teacher-Version"] == "fake@0, algebra@1"


def test_answers_have_the_shape_of_the_contract(app_client: TestClient) -> None:
    for path, items, shape in (
        ("/v1/explain/batch", [GOOD, {}], ExplainBatchResponse),
        ("/v1/score/batch", [SCORE, {}], ScoreBatchResponse),
    ):
        shape.model_validate_json(app_client.post(path, json={"items": items}).content)
