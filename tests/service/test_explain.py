"""POST /v1/explain on the fake engine, which writes `Look: …` and a closing tag."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from rlt_service.engine.fake_engine import FakeEngine, rule_logprobs
from rlt_service.engine.protocol import (
    AdapterRef,
    Completion,
    CompletionDelta,
    EngineInfo,
    GenerateRequest,
    GenerateResult,
    SequenceScoreRequest,
    SequenceScoreResult,
)
from tests.support.control import Control
from tests.support.service import codec_of, running_app, services_of
from tests.support.streams import events_of, named

BODY = {"question": "What is 17 + 25?", "solution": "42", "seed": 1}


def explain(client: TestClient, **fields: Any) -> dict[str, Any]:
    answer = client.post("/v1/explain", json=BODY | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


class Renormalising(FakeEngine):
    """Gives log-probs as vLLM does for top_p or top_k: those of the renormalised choice, here all certain."""

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        made = await super().generate(request)
        return GenerateResult(completions=tuple(_certain(one) for one in made.completions), cached_tokens=0)


def _certain(made: Completion) -> Completion:
    return Completion(
        index=made.index,
        token_ids=made.token_ids,
        logprobs=tuple(0.0 for _ in made.logprobs),
        finish_reason=made.finish_reason,
    )


def test_explanations_come_without_tags_and_named(app_client: TestClient) -> None:
    found = explain(app_client, n=3)
    assert (found["object"], found["format"], found["teacher"]) == (
        "explanation.list",
        "stratos@1",
        {"version": "fake@0", "base_model": "fake"},
    )
    assert found["engine"]["name"] == "fake"
    assert [one["index"] for one in found["explanations"]] == [0, 1, 2]
    for one in found["explanations"]:
        assert one["text"].startswith("Look: ")
        assert "<|" not in one["text"]
        assert (one["finish_reason"], one["well_formed"], one["tokens"]) == ("stop", True, None)


@pytest.mark.parametrize("path", ["/explain", "/v1/explain"])
def test_both_paths_answer_and_say_which_version_made_it(app_client: TestClient, path: str) -> None:
    answer = app_client.post(path, json=BODY)
    assert answer.status_code == 200
    assert answer.headers["RLT-Teacher-Version"] == "fake@0"
    assert "RLT-Student-Version" not in answer.headers


def test_tokens_are_everything_that_was_generated(app_client: TestClient) -> None:
    one = explain(app_client, include=["tokens"])["explanations"][0]
    codec = codec_of(app_client)
    tokens = one["tokens"]
    start, end = tokens["explanation"]
    prompt = codec.teacher_sequence(question=BODY["question"], solution="42").token_ids
    assert tokens["prompt_token_ids"] == list(prompt)
    assert codec.decode(tokens["completion_token_ids"]) == one["text"] + "<|end_of_explanation|>"
    assert codec.decode(tokens["completion_token_ids"][start:end]) == one["text"]
    assert (start, tokens["temperature"], tokens["straddled"]) == (0, 0.7, False)
    assert len(tokens["completion_logprobs"]) == len(tokens["completion_token_ids"])
    assert tokens["tokenizer"] == codec.fingerprint


def test_usage_counts_what_the_engine_read_and_wrote(app_client: TestClient) -> None:
    found = explain(app_client, n=2, include=["tokens"])
    tokens = [one["tokens"] for one in found["explanations"]]
    assert found["usage"]["prompt_tokens"] == 2 * len(tokens[0]["prompt_token_ids"])
    assert found["usage"]["completion_tokens"] == sum(len(one["completion_token_ids"]) for one in tokens)


class Cached(FakeEngine):
    """Reads part of each prompt from a cache: 3 tokens, 4 for the second, and so on."""

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        made = await super().generate(request)
        completions = tuple(replace(one, cached_tokens=3 + one.index) for one in made.completions)
        return GenerateResult(completions=completions, cached_tokens=sum(one.cached_tokens for one in completions))

    async def generate_stream(self, request: GenerateRequest) -> AsyncGenerator[CompletionDelta | Completion]:
        async for part in super().generate_stream(request):
            yield replace(part, cached_tokens=3 + part.index) if isinstance(part, Completion) else part


def test_usage_counts_what_was_read_from_the_cache(tmp_path: Path) -> None:
    with running_app(tmp_path, engine=Cached()) as client:
        assert explain(client, n=3)["usage"]["cached_tokens"] == 3 + 4 + 5
        answer = client.post("/v1/explain", json=BODY | {"n": 3, "stream": True})
        (done,) = named(events_of(answer.text), "done")
        assert done["usage"]["cached_tokens"] == 3 + 4 + 5


def test_up_to_64_explanations_come_from_one_call(app_client: TestClient) -> None:
    found = explain(app_client, n=64, include=["score"])
    assert [one["index"] for one in found["explanations"]] == list(range(64))
    assert [score["index"] for score in found["score"]["scores"]] == list(range(64))
    assert len({one["text"] for one in found["explanations"]}) > 32


def test_greedy_explanations_say_that_their_logprobs_are_at_temperature_1(app_client: TestClient) -> None:
    tokens = explain(app_client, temperature=0, include=["tokens"])["explanations"][0]["tokens"]
    assert tokens["temperature"] == 1.0
    assert set(tokens["completion_logprobs"]) == {-0.1, -2.0}


def test_scores_come_with_the_default_student_in_the_header(app_client: TestClient) -> None:
    answer = app_client.post("/v1/explain", json={**BODY, "include": ["score"]})
    found = answer.json()
    assert found["score"]["object"] == "score.list"
    assert found["score"]["student"]["version"] == answer.headers["RLT-Student-Version"] == "fake@0"
    assert found["explanations"][0]["tokens"] is None


@pytest.mark.parametrize("cut", [{"top_p": 0.9}, {"top_k": 8}], ids=str)
def test_logprobs_of_a_distribution_that_was_cut_off_are_computed_anew(tmp_path: Path, cut: dict[str, Any]) -> None:
    with running_app(tmp_path, engine=Renormalising()) as client:
        tokens = explain(client, **cut, temperature=0.5, include=["tokens"])["explanations"][0]["tokens"]
        prompt, ids = tokens["prompt_token_ids"], tokens["completion_token_ids"]
        rule = rule_logprobs([*prompt, *ids], start=len(prompt), temperature=0.5, adapter=None)
        assert tokens["completion_logprobs"] == pytest.approx(list(rule))
        as_sampled = explain(client, temperature=0.5, include=["tokens"])["explanations"][0]["tokens"]
        assert set(as_sampled["completion_logprobs"]) == {0.0}


class Short(FakeEngine):
    """Loses the last log-prob of each sequence that it scores."""

    async def score(self, requests: Sequence[SequenceScoreRequest]) -> list[SequenceScoreResult]:
        return [replace(one, logprobs=one.logprobs[:-1]) for one in await super().score(requests)]


def test_a_logprob_that_is_missing_when_they_are_computed_anew_is_an_error(tmp_path: Path) -> None:
    with running_app(tmp_path, engine=Short()) as client:
        answer = client.post("/v1/explain", json=BODY | {"top_p": 0.9, "include": ["tokens"]})
        assert (answer.status_code, answer.json()["code"]) == (500, "scoring_failed")


class Plain(Renormalising):
    """Scores at temperature 1 alone, and counts what it generates."""

    def __init__(self) -> None:
        super().__init__()
        self.generated = 0

    @property
    def info(self) -> EngineInfo:
        return replace(super().info, scoring="plain")

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        self.generated += 1
        return await super().generate(request)


@pytest.mark.parametrize("cut", [{"top_p": 0.9}, {"top_k": 8}], ids=str)
def test_log_probs_that_cannot_be_computed_anew_are_refused_before_anything_is_generated(
    tmp_path: Path, cut: dict[str, Any]
) -> None:
    with running_app(tmp_path, engine=(engine := Plain())) as client:
        began = engine.generated
        answer = client.post("/v1/explain", json=BODY | cut | {"include": ["tokens"]})
        found = answer.json()
        assert (answer.status_code, found["code"], found["param"]) == (422, "invalid_request", "/temperature")
        assert engine.generated == began
        explain(client, **cut)  # where nobody wants the log-probs, none is untrue
        explain(client, **cut, temperature=1.0, include=["tokens"])


def test_the_likeliest_token_alone_is_what_greedy_writes(app_client: TestClient) -> None:
    asked = {"n": 2, "seed": 5}
    greedy = {one["text"] for one in explain(app_client, **asked, temperature=0)["explanations"]}
    assert {one["text"] for one in explain(app_client, **asked, top_k=1)["explanations"]} == greedy
    assert len(greedy) == 1
    assert len({one["text"] for one in explain(app_client, **asked, top_k=0)["explanations"]}) == 2


@pytest.mark.parametrize("cut", [{"top_p": 0.9}, {"top_k": 8}], ids=str)
def test_a_reward_of_what_was_cut_off_rests_on_the_teachers_own_distribution(
    tmp_path: Path, cut: dict[str, Any]
) -> None:
    with running_app(tmp_path, engine=Renormalising()) as client:
        made = explain(client, **cut, include=["tokens", "score"])
        entry = {"tokens": made["explanations"][0]["tokens"]}
        body = {"question": BODY["question"], "solution": "42", "explanations": [entry], "teacher": "default"}
        by_teacher = client.post("/v1/score", json=body).json()["scores"][0]
        assert made["score"]["scores"][0]["kl"] == {key: pytest.approx(v) for key, v in by_teacher["kl"].items()}


def test_a_name_means_its_newest_version_when_the_request_is_admitted(tmp_path: Path) -> None:
    with running_app(tmp_path) as client:
        made = Control(http=client, services=services_of(client))
        made.version("algebra", seed=1)
        assert explain(client, teacher="algebra")["teacher"]["version"] == "algebra@1"
        made.version("algebra", seed=2)
        answer = client.post("/v1/explain", json={**BODY, "teacher": "algebra"})
        assert answer.json()["teacher"]["version"] == answer.headers["RLT-Teacher-Version"] == "algebra@2"
        assert explain(client, teacher="algebra@1")["teacher"]["version"] == "algebra@1"
        assert explain(client, teacher="algebra@0")["teacher"]["version"] == "fake@0"


def test_the_same_seed_says_the_same_thing(app_client: TestClient) -> None:
    texts = [explain(app_client, seed=seed)["explanations"][0]["text"] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_texts_of_any_script_come_through(app_client: TestClient) -> None:
    question = "¿17 + 25? 二十五 \U0001f600 \x00 <|im_end|> <|end_of_solution|> \u2028"
    found = explain(app_client, question=question, include=["tokens"])
    codec = codec_of(app_client)
    prompt = found["explanations"][0]["tokens"]["prompt_token_ids"]
    assert question in codec.decode(prompt)
    # One that ends the system's turn, one that ends the user's: the question's own is text, not a control token.
    assert sum(codec.decode([token]) == "<|im_end|>" for token in prompt) == 2


class Observed(FakeEngine):
    """Notes what is asked while which version is held."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    @asynccontextmanager
    async def holding(self, adapter: AdapterRef | None) -> AsyncGenerator[None]:
        name = "base" if adapter is None else adapter.version
        async with super().holding(adapter):
            self.seen.append(f"hold {name}")
            yield
            self.seen.append(f"let go {name}")

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        self.seen.append("generate")
        return await super().generate(request)

    async def score(self, requests: Sequence[SequenceScoreRequest]) -> list[SequenceScoreResult]:
        self.seen.append("score")
        return await super().score(requests)


def test_a_version_is_held_until_all_of_its_explanation_is_done(tmp_path: Path) -> None:
    engine = Observed()
    with running_app(tmp_path, engine=engine) as client:
        Control(http=client, services=services_of(client)).version("algebra")
        engine.seen.clear()
        explain(client, teacher="algebra", top_p=0.9, include=["tokens"])
        assert engine.seen == ["hold algebra@1", "generate", "score", "let go algebra@1"]
