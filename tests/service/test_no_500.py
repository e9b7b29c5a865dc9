"""Whatever a caller sends, the answer is one of the contract's: never a 500."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from rlt_core.schemas.explain import ExplainRequest
from rlt_core.schemas.score import CompletionTokens, ExplanationInput, RewardConfig, ScoreRequest

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["42", "default", "fake@0", "<|end_of_explanation|>", "</think>", "\x00", "k3", "tokens"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)


def fields(*models: Any) -> list[str]:
    return sorted({name for model in models for name in model.model_fields})


def objects(*models: Any, inner: st.SearchStrategy[Any] = VALUES) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(fields(*models)), inner, max_size=6)


TOKENS = st.fixed_dictionaries(
    {
        "completion_token_ids": st.lists(st.integers(-3, 300), max_size=6),
        "completion_logprobs": st.lists(st.floats(-1e5, 0.1), max_size=6),
        "explanation": st.tuples(st.integers(-1, 6), st.integers(-1, 6)),
        "temperature": st.floats(0.0, 3.0),
    },
    optional={"tokenizer": st.text(max_size=5)},
)
ENTRIES = st.text(max_size=10) | objects(ExplanationInput, CompletionTokens) | st.fixed_dictionaries({"tokens": TOKENS})
GOOD = st.fixed_dictionaries({"question": st.text(max_size=20), "solution": st.text(max_size=20)})
EXPLAIN = st.tuples(GOOD, objects(ExplainRequest)).map(lambda parts: parts[0] | parts[1])
SCORE = st.tuples(
    GOOD,
    st.fixed_dictionaries({"explanations": st.lists(ENTRIES, max_size=3)}),
    objects(ScoreRequest, inner=VALUES | objects(RewardConfig)),
).map(lambda parts: parts[2] | parts[0] | parts[1])


@pytest.mark.parametrize(("path", "bodies"), [("/v1/explain", EXPLAIN), ("/v1/score", SCORE)])
@settings(max_examples=max(150, settings().max_examples))
@given(data=st.data())
def test_no_body_of_a_user_is_a_500(
    app_client: TestClient, path: str, bodies: st.SearchStrategy[Any], data: st.DataObject
) -> None:
    body = data.draw(bodies | VALUES)
    for url, content in ((path, body), (f"{path}/batch", {"items": [body]})):
        answer = app_client.post(url, content=json.dumps(content), headers={"Content-Type": "application/json"})
        assert answer.status_code in (200, 400, 404, 422), answer.text
        problem = answer.json() if answer.status_code >= 400 else answer.json().get("data", [{}])[0].get("problem")
        assert problem is None or problem["status"] < 500, answer.text
