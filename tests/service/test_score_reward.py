"""POST /v1/score, each part of the reward on its own: coefficients, temperatures, whose log-probs count.

Numbers by the fake engine's rule at temperature 1, as in test_score.py: -0.1 for an id seen before, else -2.0. Of the
explanation "the 4" (|the| |4|) the student finds the 4 new, the teacher has read it in the solution "43": divergences
0, 0, 1.9 (mean 0.6333, max 1.9). Of the solution the 4 is then seen and the 3 is new: mean -1.05, min -2.0.
"""

from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.support.service import codec_of

approx = pytest.approx

GOOD = {"question": "What is 17 + 25?", "solution": "43"}
CLOSE = "<|end_of_explanation|>"
NOTHING = {"solution_mean": 0.0, "solution_min": 0.0, "kl_mean": 0.0, "kl_max": 0.0, "format_penalty": 0.0}


def score(client: TestClient, explanations: list[Any], **fields: Any) -> dict[str, Any]:
    body = {**GOOD, "explanations": explanations, "reward": {"temperature": 1.0}, **fields}
    answer = client.post("/v1/score", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def written(client: TestClient, text: str, *, logprob: float, temperature: float) -> dict[str, Any]:
    """Give a completion of one explanation's token and its closing tag, each at the same log-prob."""
    ids = codec_of(client).encode_text(text)
    return {
        "completion_token_ids": ids,
        "completion_logprobs": [logprob] * len(ids),
        "explanation": [0, 1],
        "temperature": temperature,
    }


@pytest.mark.parametrize(
    ("coefficient", "value", "expected"),
    [
        ("solution_mean", 1.0, -1.05),
        ("solution_min", 1.0, -2.0),
        ("kl_mean", 1.0, -0.633333),
        ("kl_mean", -1.0, 0.633333),
        ("kl_max", 1.0, -1.9),
        ("format_penalty", -2.5, -2.5),
    ],
)
def test_each_coefficient_weighs_its_own_part(
    app_client: TestClient, coefficient: str, value: float, expected: float
) -> None:
    reward = {**NOTHING, coefficient: value, "temperature": 1.0}
    entry = {"text": "the 4", "well_formed": False}
    found = score(app_client, [entry], teacher="default", reward=reward)
    only = found["scores"][0]
    assert only["reward"] == approx(expected, abs=1e-6)
    assert only["reward"] == approx(only["r_ss"] - only["r_kl"] + only["format"])
    assert found["reward"] == {**reward, "kl_estimator": "k1"}


def test_left_out_coefficients_are_the_papers_and_are_told(app_client: TestClient) -> None:
    answer = app_client.post("/v1/score", json={**GOOD, "explanations": ["4"]}).json()
    assert answer["reward"] == {
        "solution_mean": 1.0,
        "solution_min": 0.01,
        "kl_mean": 3.0,
        "kl_max": 0.03,
        "temperature": 0.7,
        "kl_estimator": "k1",
        "format_penalty": -1.0,
    }


def test_k3_weighs_each_token_before_mean_and_max(app_client: TestClient) -> None:
    reward = {**NOTHING, "kl_mean": 1.0, "kl_max": 1.0, "kl_estimator": "k3", "temperature": 1.0}
    only = score(app_client, ["the 4"], teacher="default", reward=reward)["scores"][0]
    # 0, 0, 1.9 - 1 + e^-1.9 = 1.049569: mean 0.349856, max 1.049569
    assert (only["kl"]["mean"], only["kl"]["max"]) == approx((0.349856, 1.049569), abs=1e-6)
    assert only["reward"] == approx(-1.399425, abs=1e-6)


def test_the_teacher_is_compared_at_the_tokens_temperature_the_student_at_the_rewards(app_client: TestClient) -> None:
    entry = {"tokens": written(app_client, f"4{CLOSE}", logprob=-7.0, temperature=0.5)}
    only = score(app_client, [entry], teacher="default")["scores"][0]
    # Teacher -0.1 / 0.5 = -0.2, student -2.0 / 1: 1.8. The solution is the student's, at 1.
    assert (only["kl"]["mean"], only["solution"]["mean"]) == approx((1.8, -1.05))


def test_given_logprobs_count_at_whatever_temperature_they_are(app_client: TestClient) -> None:
    entry = {"tokens": written(app_client, f"4{CLOSE}", logprob=-0.7, temperature=0.5)}
    only = score(app_client, [entry], reward={"temperature": 0.5})["scores"][0]
    # -0.7 as given, and -2.0 / 0.5 = -4.0 by the student.
    assert (only["kl"]["mean"], only["kl"]["tokens"]) == approx((3.3, 1))


def test_a_greedy_explanation_is_compared_at_temperature_1(app_client: TestClient) -> None:
    asked = {**GOOD, "temperature": 0, "include": ["tokens"]}
    tokens = app_client.post("/v1/explain", json=asked).json()["explanations"][0]["tokens"]
    given = score(app_client, [{"tokens": tokens}], reward={"temperature": 0.7})["scores"][0]
    anew = score(app_client, [{"tokens": tokens}], reward={"temperature": 0.7}, teacher="default")["scores"][0]
    assert anew["reward"] == approx(given["reward"])


def test_ids_that_close_at_once_are_an_empty_explanation(app_client: TestClient) -> None:
    ids = codec_of(app_client).encode_text(CLOSE)
    tokens = {"completion_token_ids": ids, "completion_logprobs": [-1.0] * len(ids), "explanation": [0, 0]}
    found = score(app_client, [{"tokens": {**tokens, "temperature": 1.0}}], include=["tokens", "sequence"])
    only = found["scores"][0]
    assert (only["kl"], only["r_kl"]) == ({"mean": 1.0, "max": 1.0, "tokens": 0, "aligned": "tokens"}, approx(3.03))
    assert (found["terms"], only["well_formed"]) == (["solution", "kl", "format"], True)
    assert [token["segment"] for token in only["tokens"]] == ["solution", "solution"]
    start, end = only["sequence"]["explanation"]
    assert start == end


def test_tokens_are_listed_without_a_teacher_too(app_client: TestClient) -> None:
    only = score(app_client, ["the 4"], include=["tokens"])["scores"][0]
    listed = [(t["text"], t["logprob"], t["teacher_logprob"], t["kl"]) for t in only["tokens"]]
    assert listed == [
        ("the", approx(-0.1), None, None),
        (" ", approx(-0.1), None, None),
        ("4", approx(-2.0), None, None),
        ("4", approx(-0.1), None, None),
        ("3", approx(-2.0), None, None),
    ]
    assert only["kl"] is None


def test_scores_stand_in_the_order_of_their_explanations_each_with_its_own_uplift(app_client: TestClient) -> None:
    found = score(app_client, ["", "4", "43"], baseline=True)
    # Without an explanation both digits are new (-2.0); "4" makes one seen, "43" both.
    assert (found["baseline"]["mean"], found["baseline"]["sum"]) == approx((-2.0, -4.0))
    assert [one["uplift"] for one in found["scores"]] == approx([0.0, 0.95, 1.9])
    assert [one["index"] for one in found["scores"]] == [0, 1, 2]
