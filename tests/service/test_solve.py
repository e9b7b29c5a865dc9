"""POST /v1/solve: a student answers a question by itself, on the fake engine."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from rlt_service.engine.fake_engine import FakeEngine, FakeOptions, rule_logprobs
from rlt_service.engine.protocol import EngineInfo, GenerateRequest, GenerateResult
from tests.support.control import Control, check_problem, control_app
from tests.support.service import running_app

ASKED = {"question": "What is 17 + 25?", "seed": 3, "max_tokens": 200}


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home"), max_model_len=1024) as made:
        made.version("pupil", role="student")
        yield made


def solved(http: TestClient, **fields: Any) -> dict[str, Any]:
    answer = http.post("/v1/solve", json=ASKED | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_student_thinks_and_solves_without_tags(control: Control) -> None:
    answer = control.http.post("/v1/solve", json=ASKED | {"student": "pupil", "n": 3})
    found = answer.json()
    assert found["student"]["version"] == answer.headers["rlt-student-version"] == "pupil@1"
    assert (found["object"], found["engine"]["name"], found["format"]) == ("solution.list", "fake", "stratos@1")
    assert [one["index"] for one in found["solutions"]] == [0, 1, 2]
    assert all(one["thought"] == "Let me see." for one in found["solutions"])
    assert all(one["solution"].startswith("The answer is ") for one in found["solutions"])
    assert {one["finish_reason"] for one in found["solutions"]} == {"stop"}
    assert found["usage"]["completion_tokens"] == sum(one["tokens"] for one in found["solutions"])


def test_the_prompt_is_the_one_that_a_student_learns_to_go_on_from(control: Control) -> None:
    host = control.services.host
    assert host is not None
    codec = host.ready().codec
    prompt = len(codec.student_prompt(question=ASKED["question"]).token_ids)
    assert solved(control.http, n=2)["usage"]["prompt_tokens"] == 2 * prompt
    assert "17 + 25" in codec.decode(codec.student_prompt(question=ASKED["question"]).token_ids)


def test_the_same_seed_gives_the_same_solutions_and_greedy_gives_one(control: Control) -> None:
    first, again, other = (solved(control.http, n=8, seed=seed)["solutions"] for seed in (5, 5, 6))
    assert first == again
    assert first != other
    greedy = solved(control.http, n=8, temperature=0)["solutions"]
    assert len({one["solution"] for one in greedy}) == 1


def test_what_was_cut_off_has_no_solution(control: Control) -> None:
    [cut] = solved(control.http, max_tokens=5)["solutions"]
    assert (cut["solution"], cut["finish_reason"], cut["tokens"]) == (None, "length", 5)


def test_tokens_come_on_request_and_are_those_that_were_generated(control: Control) -> None:
    host = control.services.host
    assert host is not None
    codec = host.ready().codec
    assert all(one["generated"] is None for one in solved(control.http, n=2)["solutions"])
    for temperature, told in ((0.5, 0.5), (0, 1.0)):
        found = solved(control.http, n=2, temperature=temperature, include=["tokens"])["solutions"]
        for one in found:
            made = one["generated"]
            prompt, ids = made["prompt_token_ids"], made["completion_token_ids"]
            assert tuple(prompt) == codec.student_prompt(question=ASKED["question"]).token_ids
            assert codec.decode(ids).startswith(f"{one['thought']}{codec.format.thought_close}")
            assert len(made["completion_logprobs"]) == len(ids) == one["tokens"]
            assert made["temperature"] == told
            rule = rule_logprobs([*prompt, *ids], start=len(prompt), temperature=told, adapter=None)
            assert made["completion_logprobs"] == pytest.approx(list(rule))


class Renormalised(FakeEngine):
    """Gives log-probs as vLLM does for top_p or top_k: those of the renormalised choice, here all certain."""

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        made = await super().generate(request)
        completions = tuple(replace(one, logprobs=(0.0,) * len(one.logprobs)) for one in made.completions)
        return GenerateResult(completions=completions, cached_tokens=0)


class Plain(Renormalised):
    @property
    def info(self) -> EngineInfo:
        return replace(super().info, scoring="plain")


@pytest.mark.parametrize("cut", [{"top_p": 0.9}, {"top_k": 8}], ids=str)
def test_log_probs_of_a_distribution_that_was_cut_off_are_computed_anew(tmp_path: Path, cut: dict[str, Any]) -> None:
    with running_app(tmp_path, engine=Renormalised(FakeOptions(max_model_len=1024))) as client:
        [one] = solved(client, temperature=0.5, include=["tokens"], **cut)["solutions"]
        prompt, ids = one["generated"]["prompt_token_ids"], one["generated"]["completion_token_ids"]
        rule = rule_logprobs([*prompt, *ids], start=len(prompt), temperature=0.5, adapter=None)
        assert one["generated"]["completion_logprobs"] == pytest.approx(list(rule))
    with running_app(tmp_path, engine=Plain(FakeOptions(max_model_len=1024))) as client:
        asked = ASKED | {"temperature": 0.5, "include": ["tokens"]} | cut
        check_problem(client.post("/v1/solve", json=asked), 422, "invalid_request", param="/temperature")
        assert client.post("/v1/solve", json=asked | {"include": []}).status_code == 200


def test_a_batch_answers_each_item_for_itself(control: Control) -> None:
    body = {"items": [ASKED, ASKED | {"question": " "}, ASKED | {"student": "nobody"}, ASKED | {"student": "pupil"}]}
    answer = control.http.post("/v1/solve/batch", json=body)
    kinds = [item["object"] for item in answer.json()["data"]]
    assert kinds == ["solution.list", "error", "error", "solution.list"]
    assert answer.headers["rlt-student-version"] == "fake@0, pupil@1"


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"question": " "}, 422, "invalid_request", "/question"),
        ({"question": "a" * 3000}, 422, "prompt_too_long", "/question"),
        ({"max_tokens": 1000}, 422, "prompt_too_long", "/max_tokens"),
        ({"student": "nobody"}, 404, "model_not_found", "/student"),
        ({"n": 0}, 422, "invalid_request", "/n"),
        ({"temperature": 0.001}, 422, "invalid_request", "/temperature"),
        ({"include": ["score"]}, 422, "invalid_request", "/include/0"),
        ({"solution": "42"}, 422, "unknown_field", "/solution"),
    ],
)
def test_what_cannot_be_solved_is_refused_at_its_field(
    control: Control, fields: dict[str, Any], status: int, code: str, param: str
) -> None:
    check_problem(control.http.post("/v1/solve", json=ASKED | fields), status, code, param=param)


def test_in_a_format_without_tags_for_it_the_solution_is_what_follows_the_thought(tmp_path: Any) -> None:
    with running_app(tmp_path, format="r1@1") as client:
        [one] = solved(client)["solutions"]
    assert one["thought"] == "Let me see."
    assert one["solution"].startswith("The answer is ")
