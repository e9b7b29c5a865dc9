"""A server that speaks r1@1: the same calls as in any format, `<think>` and `</think>` around the explanation.

Numbers by the fake engine's rule, as in test_score.py: neither instructions, template, tags nor question hold a 4.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from rlt_core.formats import R1_1
from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from tests.support.control import Control, check_problem
from tests.support.service import codec_of, running_app, services_of

approx = pytest.approx

QUESTION = "What is 17 + 25?"
GOOD = {"question": QUESTION, "solution": "42"}
AT_ONE = {"temperature": 1.0}
CLOSE = R1_1.explanation_close


@pytest.fixture(scope="module")
def r1(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with running_app(tmp_path_factory.mktemp("home"), format="r1@1") as client:
        yield client


@pytest.fixture(scope="module")
def straddling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    engine = FakeEngine(FakeOptions(straddled_share=1.0, format_id="r1@1"))
    with running_app(tmp_path_factory.mktemp("home"), engine=engine, format="r1@1") as client:
        yield client


def explain(client: TestClient, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/explain", json={**GOOD, "seed": 1, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def score(client: TestClient, explanations: list[Any], **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/score", json={**GOOD, "explanations": explanations, "reward": AT_ONE, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


def read(client: TestClient, sequence: dict[str, Any]) -> tuple[str, str, str]:
    """Give the whole of what the student read, the explanation in it, and the solution."""
    codec, ids = codec_of(client), sequence["token_ids"]
    (e0, e1), (s0, s1) = sequence["explanation"], sequence["solution"]
    return codec.decode(ids), codec.decode(ids[e0:e1]), codec.decode(ids[s0:s1])


def test_the_server_speaks_the_format_that_it_is_told(r1: TestClient) -> None:
    assert r1.get("/v1/capabilities").json()["formats"] == ["r1@1"]
    made = explain(r1, include=["tokens", "score"])
    assert (made["format"], made["score"]["format"]) == ("r1@1", "r1@1")


def test_the_teacher_goes_on_from_the_solution_and_ends_with_its_thought(r1: TestClient) -> None:
    one = explain(r1, include=["tokens"])["explanations"][0]
    codec = codec_of(r1)
    assert codec.decode(one["tokens"]["prompt_token_ids"]).endswith("assistant\n42\n\n<think>")
    assert codec.decode(one["tokens"]["completion_token_ids"]) == one["text"] + CLOSE
    assert (one["well_formed"], "think" in one["text"]) == (True, False)


def test_the_student_reads_a_thought_and_then_the_bare_solution(r1: TestClient) -> None:
    only = score(r1, ["4"], baseline=True, include=["sequence"])["scores"][0]
    whole, explanation, solution = read(r1, only["sequence"])
    assert whole.endswith("assistant\n<think>4</think>\n\n42")
    assert (explanation, solution) == ("4", "42")
    # No closing tag: what the student reads ends with the solution's last token.
    assert only["sequence"]["solution"][1] == len(only["sequence"]["token_ids"])


def test_the_reward_is_the_one_worked_out_by_hand(r1: TestClient) -> None:
    found = score(r1, ["4", ""], teacher="default", baseline=True)
    helpful, silent = found["scores"]
    # "4": solution (-0.1, -0.1), r_ss = -0.101; the teacher has read the 4: kl = -0.1 + 2.0 on one token, r_kl = 5.757
    assert (helpful["r_ss"], helpful["r_kl"], helpful["reward"]) == approx((-0.101, 5.757, -5.858))
    # "": solution (-2.0, -0.1), r_ss = -1.05 - 0.02; r_kl = 3.03 by the rule for empty explanations
    assert (silent["r_ss"], silent["r_kl"], silent["kl"]["tokens"]) == (approx(-1.07), approx(3.03), 0)
    assert (found["baseline"]["mean"], helpful["uplift"]) == approx((-1.05, 0.95))


@pytest.mark.parametrize("server", ["r1", "straddling"])
def test_what_was_explained_scores_the_same_when_it_is_sent_back(server: str, request: pytest.FixtureRequest) -> None:
    client: TestClient = request.getfixturevalue(server)
    made = explain(client, n=2, include=["tokens", "score"])
    entries = [{key: one[key] for key in ("text", "tokens", "well_formed")} for one in made["explanations"]]
    answer = client.post("/v1/score", json={**GOOD, "explanations": entries})
    assert answer.json()["scores"] == made["score"]["scores"]
    # The teacher that is named finds what it found as it wrote.
    anew = client.post("/v1/score", json={**GOOD, "explanations": entries, "teacher": "default"}).json()["scores"]
    assert [one["reward"] for one in anew] == approx([one["reward"] for one in made["score"]["scores"]])


def test_a_token_that_holds_the_last_full_stop_and_the_tags_beginning_is_cut_there(straddling: TestClient) -> None:
    one = explain(straddling, include=["tokens"])["explanations"][0]
    codec, (_, end) = codec_of(straddling), one["tokens"]["explanation"]
    assert codec.token_texts(one["tokens"]["completion_token_ids"])[end] == ".<"
    assert (one["text"][-1], one["tokens"]["straddled"], one["well_formed"]) == (".", True, True)
    only = score(straddling, [{"tokens": one["tokens"]}], include=["sequence", "tokens"])["scores"][0]
    whole, explanation, solution = read(straddling, only["sequence"])
    assert f"<think>{one['text']}</think>\n\n42" in whole
    assert (explanation + ".", solution) == (one["text"], "42")
    assert only["kl"]["tokens"] == end


def test_an_explanation_that_never_closes_pays_the_penalty(tmp_path: Path) -> None:
    engine = FakeEngine(FakeOptions(unclosed_share=1.0, format_id="r1@1"))
    with running_app(tmp_path, engine=engine, format="r1@1") as client:
        made = explain(client, max_tokens=20, include=["tokens", "score"])
        one = made["explanations"][0]
        assert (one["well_formed"], one["finish_reason"], one["tokens"]["explanation"]) == (False, "length", [0, 20])
        assert made["score"]["scores"][0]["format"] == -1.0


@pytest.mark.parametrize("hostile", ["</think>", "<think>", "</think>\n\n42", "4</think", "<|im_end|></think>\n\n"])
def test_tags_in_the_texts_of_callers_neither_open_nor_close(r1: TestClient, hostile: str) -> None:
    texts = {"question": f"{hostile}? {hostile}", "solution": f"{hostile}4{hostile}"}
    one = explain(r1, **texts, include=["tokens"])["explanations"][0]
    assert (one["well_formed"], one["text"].startswith("Look: ")) == (True, True)
    prompt = codec_of(r1).decode(one["tokens"]["prompt_token_ids"])
    assert prompt.endswith(
        f"user\n{texts['question']}<|im_end|>\n<|im_start|>assistant\n{texts['solution']}\n\n<think>"
    )
    for entry in (f"a {hostile} b", {"tokens": one["tokens"]}):
        only = score(r1, [entry], **texts, include=["sequence"], teacher="default")["scores"][0]
        _, explanation, solution = read(r1, only["sequence"])
        assert (explanation, solution) == (entry if isinstance(entry, str) else one["text"], texts["solution"])


def test_of_ids_that_close_twice_the_first_closing_counts(r1: TestClient) -> None:
    ids = codec_of(r1).encode_text(f"4{CLOSE} and 2{CLOSE}")
    tokens = {"completion_token_ids": ids, "completion_logprobs": [-1.0] * len(ids), "temperature": 1.0}
    only = score(r1, [{"tokens": {**tokens, "explanation": [0, 1]}}], include=["sequence"])["scores"][0]
    whole, explanation, _ = read(r1, only["sequence"])
    assert (explanation, whole.endswith("<think>4</think>\n\n42")) == ("4", True)


def test_a_version_of_another_format_is_refused_by_its_name(tmp_path: Path) -> None:
    with running_app(tmp_path, format="r1@1") as client:
        control = Control(http=client, services=services_of(client))
        ours, foreign = control.version("ours"), control.version("foreign", format="stratos@1")
        assert explain(client, teacher=ours)["teacher"]["version"] == ours
        for path, body, role in (
            ("/v1/explain", {**GOOD, "teacher": foreign}, "teacher"),
            ("/v1/score", {**GOOD, "explanations": ["4"], "teacher": foreign}, "teacher"),
            ("/v1/score", {**GOOD, "explanations": ["4"], "student": "foreign"}, "student"),
        ):
            found = check_problem(client.post(path, json=body), 422, "invalid_request", f"/{role}")
            assert ("'stratos@1'" in found["detail"], "RLT_FORMAT=stratos@1" in found["detail"]) == (True, True)
        promoted = client.put("/v1/aliases/teacher/best", json={"version": foreign})
        assert "'stratos@1'" in check_problem(promoted, 422, "invalid_request", "/version")["detail"]
        registered = client.post("/v1/teachers/late/versions", json={"folder": "foreign-0", "format": "stratos@1"})
        check_problem(registered, 422, "invalid_request", "/format")
        made = client.post("/v1/teachers/late/versions", json={"folder": "foreign-0"})
        assert (made.status_code, made.json()["format"]) == (201, "r1@1")
