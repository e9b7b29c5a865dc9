"""POST /v1/score on the fake engine, whose rule makes every number one that can be worked out by hand.

A token costs -0.1 where its id stands earlier in the sequence, else -2.0, divided by the temperature. In the byte
tokenizer "4" and "2" are one token each. The question holds a 2 and no 4; neither do instructions, template and tags.
So of the solution "42" the student finds the 4 new (-2.0) and the 2 seen (-0.1), unless the explanation says 4.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from rlt_core.rewards import RewardWeights, kl_per_token, score_explanation
from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from tests.support.control import Control
from tests.support.service import codec_of, running_app, services_of

approx = pytest.approx

QUESTION = "What is 17 + 25?"
AT_ONE = {"temperature": 1.0}


def ask(explanations: list[Any], **fields: Any) -> dict[str, Any]:
    return {"question": QUESTION, "solution": "42", "explanations": explanations, "reward": AT_ONE, **fields}


def score(client: TestClient, body: dict[str, Any]) -> dict[str, Any]:
    answer = client.post("/v1/score", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def explain(client: TestClient, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/explain", json={"question": QUESTION, "solution": "42", "seed": 1, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def straddling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    engine = FakeEngine(FakeOptions(straddled_share=1.0))
    with running_app(tmp_path_factory.mktemp("home"), engine=engine) as client:
        yield client


def test_an_explanation_that_says_the_solution_makes_it_likely(app_client: TestClient) -> None:
    found = score(app_client, ask(["4", ""], baseline=True))
    # "4": solution (-0.1, -0.1); mean -0.1, min -0.1; r_ss = -0.1 + 0.01 · -0.1 = -0.101
    # "": solution (-2.0, -0.1); mean -1.05, min -2.0; r_ss = -1.05 + 0.01 · -2.0 = -1.07, which is the baseline too
    assert found["baseline"] == {
        "mean": approx(-1.05),
        "min": approx(-2.0),
        "sum": approx(-2.1),
        "tokens": 2,
    }
    helpful, silent = found["scores"]
    assert helpful["solution"] == {
        "mean": approx(-0.1),
        "min": approx(-0.1),
        "sum": approx(-0.2),
        "tokens": 2,
    }
    assert (helpful["reward"], helpful["r_ss"], helpful["r_kl"], helpful["format"]) == approx((-0.101, -0.101, 0, 0))
    assert (silent["reward"], silent["uplift"]) == (approx(-1.07), approx(0.0))
    assert helpful["uplift"] == approx(0.95)
    assert (found["terms"], helpful["kl"], found["teacher"]) == (["solution", "format"], None, None)


def test_without_being_asked_for_a_baseline_there_is_no_uplift(app_client: TestClient) -> None:
    found = score(app_client, ask(["4"]))
    assert (found["baseline"], found["scores"][0]["uplift"]) == (None, None)


def test_a_named_teacher_adds_the_divergence_of_its_reading(app_client: TestClient) -> None:
    found = score(app_client, ask(["4"], teacher="default", include=["tokens"]))
    # The teacher has read the solution, so it finds the explanation's 4 seen: kl = -0.1 - -2.0 = 1.9 on one token.
    # r_kl = 3 · 1.9 + 0.03 · 1.9 = 5.757; reward = -0.101 - 5.757 = -5.858
    only = found["scores"][0]
    assert only["kl"] == {"mean": approx(1.9), "max": approx(1.9), "tokens": 1, "aligned": "tokens"}
    assert (only["r_kl"], only["reward"]) == approx((5.757, -5.858))
    assert found["terms"] == ["solution", "kl", "format"]
    listed = [(t["segment"], t["text"], t["logprob"], t["teacher_logprob"], t["kl"]) for t in only["tokens"]]
    assert listed == [
        ("explanation", "4", approx(-2.0), approx(-0.1), approx(1.9)),
        ("solution", "4", approx(-0.1), None, None),
        ("solution", "2", approx(-0.1), None, None),
    ]


def test_the_temperature_of_the_reward_divides_both(app_client: TestClient) -> None:
    found = score(app_client, ask(["4"], teacher="default", reward={"temperature": 0.5}))
    # Everything doubles: solution mean -0.2, kl 3.8.
    assert (found["scores"][0]["solution"]["mean"], found["scores"][0]["kl"]["mean"]) == approx((-0.2, 3.8))


def test_coefficients_of_the_request_are_used_and_returned(app_client: TestClient) -> None:
    reward = {"temperature": 1.0, "solution_mean": 2.0, "solution_min": 0.5, "kl_mean": 0.1, "kl_max": 0.2}
    found = score(app_client, ask(["4"], teacher="default", reward=reward))
    # r_ss = 2 · -0.1 + 0.5 · -0.1 = -0.25; r_kl = 0.1 · 1.9 + 0.2 · 1.9 = 0.57
    assert (found["scores"][0]["r_ss"], found["scores"][0]["r_kl"]) == approx((-0.25, 0.57))
    assert found["reward"] == {**reward, "kl_estimator": "k1", "format_penalty": -1.0}


def test_k3_is_never_negative(app_client: TestClient) -> None:
    reward = {"temperature": 1.0, "kl_estimator": "k3"}
    found = score(app_client, ask(["4"], teacher="default", reward=reward, include=["tokens"]))["scores"][0]
    # 1.9 - 1 + exp(-1.9) = 0.9 + 0.149569
    assert (found["kl"]["mean"], found["tokens"][0]["kl"]) == (approx(1.049569), approx(1.049569))


def test_an_explanation_that_was_never_closed_pays_the_format_penalty(app_client: TestClient) -> None:
    found = score(app_client, ask([{"text": "4", "well_formed": False}]))
    assert (found["scores"][0]["format"], found["scores"][0]["reward"]) == approx((-1.0, -1.101))
    assert found["scores"][0]["well_formed"] is False


def test_an_empty_explanation_is_no_way_around_the_divergence(app_client: TestClient) -> None:
    found = score(app_client, ask([""], teacher="default", include=["sequence"]))
    # By our rule mean and max are 1: r_kl = 3.03.
    assert (found["scores"][0]["kl"]["tokens"], found["scores"][0]["r_kl"]) == (0, approx(3.03))
    # There is nothing for the teacher to read: the student's sequence is all that was asked of the engine.
    # It is read up to the solution's end: nothing that only closes it is computed.
    assert found["usage"]["prompt_tokens"] == found["scores"][0]["sequence"]["solution"][1]


def test_one_explanation_may_stand_alone(app_client: TestClient) -> None:
    body = ask([])
    body["explanation"] = "4"
    del body["explanations"]
    assert score(app_client, body)["scores"] == score(app_client, ask(["4"]))["scores"]


def test_the_sequence_is_what_the_student_read(app_client: TestClient) -> None:
    only = score(app_client, ask(["4"], include=["sequence"]))["scores"][0]
    ids = only["sequence"]["token_ids"]
    codec = codec_of(app_client)
    (e0, e1), (s0, s1) = only["sequence"]["explanation"], only["sequence"]["solution"]
    assert (codec.decode(ids[e0:e1]), codec.decode(ids[s0:s1])) == ("4", "42")
    assert codec.decode(ids).endswith(
        "<|begin_of_thought|>4<|end_of_thought|>\n\n<|begin_of_solution|>42<|end_of_solution|>"
    )


def test_given_tokens_score_as_explain_scored_them(app_client: TestClient) -> None:
    """The ids and log-probs of /explain, sent back, make the very reward that /explain gave."""
    made = explain(app_client, n=3, include=["tokens", "score"])
    body = {
        "question": QUESTION,
        "solution": "42",
        "explanations": [{key: e[key] for key in ("text", "tokens", "well_formed")} for e in made["explanations"]],
    }
    assert score(app_client, body)["scores"] == made["score"]["scores"]
    assert made["score"]["terms"] == ["solution", "kl", "format"]
    assert made["score"]["teacher"] is None


def test_given_logprobs_are_used_as_they_are(app_client: TestClient) -> None:
    made = explain(app_client, temperature=1.0, include=["tokens"])["explanations"][0]
    start, end = made["tokens"]["explanation"]
    shifted = [value - 0.5 for value in made["tokens"]["completion_logprobs"]]
    entry = {"tokens": {**made["tokens"], "completion_logprobs": shifted}}
    found = score(app_client, ask([entry], include=["tokens"]))["scores"][0]
    student_T = [token["logprob"] for token in found["tokens"] if token["segment"] == "explanation"]
    expected = kl_per_token(teacher_logprobs_T=shifted[start:end], student_logprobs_T=student_T)
    assert [t["kl"] for t in found["tokens"] if t["segment"] == "explanation"] == approx(expected)
    whole = score_explanation(
        solution_logprobs_S=[t["logprob"] for t in found["tokens"] if t["segment"] == "solution"],
        kl_T=expected,
        well_formed=True,
        weights=RewardWeights(temperature=1.0),
    )
    assert found["reward"] == approx(whole.reward)


def test_a_named_teacher_scores_given_ids_anew_at_their_temperature(app_client: TestClient) -> None:
    """Whatever log-probs came along, those of the named version count, at the temperature of the tokens."""
    made = explain(app_client, temperature=0.5, include=["tokens"])["explanations"][0]
    truth = score(app_client, ask([{"tokens": made["tokens"]}], include=["tokens"]))["scores"]
    forged = {**made["tokens"], "completion_logprobs": [-7.0] * len(made["tokens"]["completion_logprobs"])}
    anew = score(app_client, ask([{"tokens": forged}], teacher="default", include=["tokens"]))["scores"]
    assert anew[0]["kl"] == {key: approx(value) for key, value in truth[0]["kl"].items()}


def test_the_text_of_a_straddling_token_is_read_without_divergence(straddling: TestClient) -> None:
    made = explain(straddling, include=["tokens", "score"])
    entry = made["explanations"][0]
    start, end = entry["tokens"]["explanation"]
    assert entry["tokens"]["straddled"]
    assert entry["text"].endswith(".")
    body = {"question": QUESTION, "solution": "42", "explanations": [{"tokens": entry["tokens"]}]}
    found = score(straddling, {**body, "include": ["tokens", "sequence"]})["scores"][0]
    told = [token for token in found["tokens"] if token["segment"] == "explanation"]
    # T is the tokens wholly before the tag; the full stop was in the token `.<` and is encoded again.
    assert found["kl"]["tokens"] == end - start == len(told) - 1
    assert (told[-1]["text"], told[-1]["kl"], told[-1]["teacher_logprob"]) == (".", None, None)
    assert "".join(token["text"] for token in told) == entry["text"]
    assert found["sequence"]["explanation"][1] - found["sequence"]["explanation"][0] == end - start
    assert found["reward"] == made["score"]["scores"][0]["reward"]


def test_a_teacher_scores_the_tokens_before_a_straddling_one(straddling: TestClient) -> None:
    tokens = explain(straddling, include=["tokens"])["explanations"][0]["tokens"]
    given = score(straddling, ask([{"tokens": tokens}]))["scores"][0]
    anew = score(straddling, ask([{"tokens": tokens}], teacher="default"))["scores"][0]
    assert anew["kl"] == {key: approx(value) for key, value in given["kl"].items()}


def test_unclosed_tokens_are_penalised_whatever_is_left_unsaid(tmp_path: Path) -> None:
    with running_app(tmp_path, engine=FakeEngine(FakeOptions(unclosed_share=1.0))) as client:
        made = explain(client, max_tokens=20, include=["tokens", "score"])
        entry = made["explanations"][0]
        assert (entry["well_formed"], entry["finish_reason"]) == (False, "length")
        assert made["score"]["scores"][0]["format"] == -1.0
        unsaid = score(client, ask([{"tokens": entry["tokens"]}]))["scores"][0]
        assert (unsaid["well_formed"], unsaid["format"]) == (False, -1.0)


def test_versions_are_resolved_and_stamped(tmp_path: Path) -> None:
    with running_app(tmp_path) as client:
        made = Control(http=client, services=services_of(client))
        student, teacher = made.version("pupil", role="student"), made.version("algebra", seed=1)
        answer = client.post("/v1/score", json=ask(["4"], student="pupil", teacher="algebra@1"))
        found = answer.json()
        assert (found["student"]["version"], found["teacher"]["version"]) == (student, teacher)
        assert answer.headers["RLT-Student-Version"] == "pupil@1"
        assert answer.headers["RLT-Teacher-Version"] == "algebra@1"
        # Version 1 of a name finds everything 5% likelier: -0.1 · 0.95 for the student's solution tokens;
        # teacher -0.1 · 0.95, student -2.0 · 0.95 on the explanation.
        assert found["scores"][0]["solution"]["mean"] == approx(-0.095)
        assert found["scores"][0]["kl"]["mean"] == approx(1.805)


def test_the_answer_names_its_engine_and_what_it_read(app_client: TestClient) -> None:
    answer = app_client.post("/score", json=ask(["4"], include=["sequence"]))
    found = answer.json()
    assert (found["engine"]["name"], found["format"], found["object"]) == ("fake", "stratos@1", "score.list")
    assert found["student"] == {"version": "fake@0", "base_model": "fake"}
    assert answer.headers["RLT-Student-Version"] == "fake@0"
    assert "RLT-Teacher-Version" not in answer.headers
    assert found["usage"]["prompt_tokens"] == found["scores"][0]["sequence"]["solution"][1]
