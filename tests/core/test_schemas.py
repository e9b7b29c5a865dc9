"""Wire types: what they take, what they refuse, what stands in JSON."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from rlt_core.rewards import RewardWeights
from rlt_core.schemas.base import Page, UtcTime, new_id, split_version
from rlt_core.schemas.collect import Source
from rlt_core.schemas.explain import ExplainBatchRequest, ExplainRequest
from rlt_core.schemas.jobs import JOB_SPEC, RlSpec, WarmupSpec
from rlt_core.schemas.score import (
    CompletionTokens,
    ExplanationInput,
    RewardConfig,
    ScoreBatchRequest,
    ScoreRequest,
)

EXPLAIN: dict[str, Any] = {"question": "1+1?", "solution": "2"}
SCORE: dict[str, Any] = {**EXPLAIN, "explanations": ["Count."]}
TOKENS: dict[str, Any] = {
    "completion_token_ids": [5, 6],
    "completion_logprobs": [-0.5, -0.25],
    "explanation": [0, 1],
    "temperature": 0.7,
}
WARMUP: dict[str, Any] = {"kind": "warmup", "role": "teacher", "dataset": "ds_1", "target_name": "algebra"}
RL: dict[str, Any] = {"kind": "rl", "dataset": "ds_1", "target_name": "algebra"}

BODIES: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (ExplainRequest, EXPLAIN),
    (ExplainBatchRequest, {"items": [EXPLAIN]}),
    (ScoreRequest, SCORE),
    (ScoreBatchRequest, {"items": [SCORE]}),
    (RewardConfig, {}),
    (CompletionTokens, TOKENS),
    (ExplanationInput, {"text": "Count.", "tokens": TOKENS}),
    (WarmupSpec, WARMUP),
    (RlSpec, RL),
]


def first_error(model: type[BaseModel], body: dict[str, Any]) -> tuple[str, tuple[int | str, ...]]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(body)
    error = caught.value.errors()[0]
    return error["type"], error["loc"]


@pytest.mark.parametrize(("model", "body"), BODIES)
def test_bodies_are_taken_and_unknown_fields_refused(model: type[BaseModel], body: dict[str, Any]) -> None:
    model.model_validate(body)
    assert first_error(model, {**body, "surprise": 1}) == ("extra_forbidden", ("surprise",))


@pytest.mark.parametrize(
    ("model", "body", "field"),
    [
        (ExplainRequest, EXPLAIN, "temperature"),
        (ExplainRequest, EXPLAIN, "top_p"),
        (RewardConfig, {}, "kl_mean"),
        (RewardConfig, {}, "temperature"),
        (CompletionTokens, TOKENS, "temperature"),
        (RlSpec, RL, "learning_rate"),
    ],
)
@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_are_not_finite_are_refused(
    model: type[BaseModel], body: dict[str, Any], field: str, value: str
) -> None:
    kind, location = first_error(model, {**body, field: float(value)})
    assert (kind, location) == ("finite_number", (field,))
    with pytest.raises(ValidationError):
        model.model_validate_json(json.dumps({**body, field: float(value)}))


def test_a_logprob_that_is_no_number_is_refused() -> None:
    assert first_error(CompletionTokens, {**TOKENS, "completion_logprobs": [-0.5, float("nan")]}) == (
        "finite_number",
        ("completion_logprobs", 1),
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("question", ""),
        ("solution", ""),
        ("question", None),
        ("question", 7),
        ("teacher", ""),
        ("n", 0),
        ("n", 65),
        ("n", 1.5),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("top_p", 0.0),
        ("top_p", 1.1),
        ("top_k", -1),
        ("top_k", 2.0),
        ("max_tokens", 0),
        ("seed", -1),
        ("seed", 2**63),
        ("include", ["everything"]),
    ],
)
def test_what_explain_does_not_take_is_refused_at_its_field(field: str, value: object) -> None:
    _, location = first_error(ExplainRequest, {**EXPLAIN, field: value})
    assert location[0] == field


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("explanations", []),
        ("explanations", ["x"] * 257),
        ("explanations", [7]),
        ("solution", ""),
        ("reward", {"temperature": 0.0}),
        ("reward", {"kl_estimator": "k2"}),
        ("reward", {"format_penalty": 1.0}),
        ("include", ["everything"]),
    ],
)
def test_what_score_does_not_take_is_refused_at_its_field(field: str, value: object) -> None:
    _, location = first_error(ScoreRequest, {**SCORE, field: value})
    assert location[0] == field


def test_one_explanation_is_taken_for_several() -> None:
    one = ScoreRequest.model_validate({**EXPLAIN, "explanation": "Count."})
    assert one == ScoreRequest.model_validate(SCORE)
    whole = ScoreRequest.model_validate({**EXPLAIN, "explanation": {"text": "Count.", "well_formed": False}})
    assert whole.explanations == [ExplanationInput(text="Count.", well_formed=False)]


def test_one_explanation_is_taken_inside_a_batch_and_the_callers_body_is_left_as_it_was() -> None:
    item = {**EXPLAIN, "explanation": "Count."}
    batch = ScoreBatchRequest.model_validate({"items": [item]})
    assert batch.items[0].explanations == ["Count."]
    assert item == {**EXPLAIN, "explanation": "Count."}


def test_one_explanation_beside_several_is_refused() -> None:
    assert first_error(ScoreRequest, {**SCORE, "explanation": "Count."}) == ("extra_forbidden", ("explanation",))


def test_a_score_without_explanations_is_refused() -> None:
    assert first_error(ScoreRequest, EXPLAIN) == ("missing", ("explanations",))


def test_the_reward_on_the_wire_is_the_one_of_the_maths() -> None:
    assert RewardConfig().to_weights() == RewardWeights()
    assert RewardConfig(kl_mean=0.3, kl_estimator="k3").to_weights() == RewardWeights(kl_mean=0.3, kl_estimator="k3")


@pytest.mark.parametrize("rule", ["math", "math_verify"])
def test_mathematics_is_also_known_by_the_name_that_stored_specs_have(rule: str) -> None:
    spec = JOB_SPEC.validate_python({"kind": "evaluate", "dataset": "ds_1", "model": "pupil", "verdict": rule})
    assert spec.model_dump()["verdict"] == "math_verify"
    source = Source.model_validate({"name": "stub", "model": "deep", "verdict": rule})
    assert source.verdict == "math_verify"


def test_a_job_is_read_by_its_kind() -> None:
    assert isinstance(JOB_SPEC.validate_python(WARMUP), WarmupSpec)
    assert isinstance(JOB_SPEC.validate_python(RL), RlSpec)
    with pytest.raises(ValidationError, match="union_tag_invalid"):
        JOB_SPEC.validate_python({**RL, "kind": "pipeline"})


@pytest.mark.parametrize("name", ["", "Algebra", "-a", "a b", "../a", "a@1", "a" * 64, "job_1.1", "a\n"])
def test_a_target_name_that_could_be_something_else_is_refused(name: str) -> None:
    assert first_error(RlSpec, {**RL, "target_name": name})[1] == ("target_name",)


def test_a_version_is_split_into_name_and_number() -> None:
    assert split_version("algebra@3") == ("algebra", 3)
    assert split_version("job_0123456789abcdef0123.2@7") == ("job_0123456789abcdef0123.2", 7)


@pytest.mark.parametrize(
    "version", ["", "algebra", "algebra@", "@3", "algebra@03", "Algebra@3", "algebra@-1", "a@1@2", "algebra@3\n"]
)
def test_what_is_no_version_is_refused(version: str) -> None:
    with pytest.raises(ValueError, match="not of the form name@number"):
        split_version(version)


def test_times_are_written_in_utc_with_milliseconds() -> None:
    adapter = TypeAdapter(UtcTime)
    noon = datetime(2025, 1, 2, 12, 0, 0, 123456, tzinfo=UTC)
    elsewhere = noon.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert adapter.dump_json(noon) == adapter.dump_json(elsewhere) == b'"2025-01-02T12:00:00.123Z"'


def test_ids_carry_their_prefix_and_do_not_repeat() -> None:
    ids = {new_id("job") for _ in range(1000)}
    assert len(ids) == 1000
    assert all(identifier.startswith("job_") and len(identifier) == 24 for identifier in ids)


def test_a_page_is_the_list_of_the_contract() -> None:
    page = Page[RewardConfig](data=[])
    assert page.model_dump() == {"object": "list", "data": [], "has_more": False, "last_id": None}
