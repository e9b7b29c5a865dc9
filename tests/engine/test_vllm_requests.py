"""Reading vLLM's answers: whatever is not exactly one finite log-prob a token is an error. No engine is started."""

import math
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from rlt_core.errors import EngineUnavailableError, ScoringError
from rlt_service.engine.protocol import GenerateRequest, SequenceScoreRequest

pytestmark = pytest.mark.real

REQUEST = SequenceScoreRequest(token_ids=(5, 6, 7, 8), start=2, temperature=0.7, adapter=None)
GENERATION = GenerateRequest(
    prompt_token_ids=(5,), adapter=None, n=2, temperature=0.7, top_p=1.0, max_tokens=9, seed=4, stop_text="</x>"
)


def flat(token_ids: Sequence[int], logprobs: Sequence[float]) -> Any:
    from vllm.logprobs import FlatLogprobs

    return FlatLogprobs(token_ids=list(token_ids), logprobs=list(logprobs))


def prompt_answer(token_ids: Sequence[int], logprobs: Sequence[float]) -> Any:
    return SimpleNamespace(prompt_logprobs=flat(token_ids, logprobs), num_cached_tokens=32)


def completion_answer(token_ids: Sequence[int], logprobs: Any, *, finish_reason: str | None = "stop") -> Any:
    generated = SimpleNamespace(token_ids=token_ids, logprobs=logprobs, finish_reason=finish_reason)
    return SimpleNamespace(outputs=[generated], num_cached_tokens=32)


def test_scores_of_the_wanted_positions_are_read() -> None:
    from rlt_service.engine.vllm_requests import score_of

    result = score_of(prompt_answer([7, 8], [-1.0, -2.0]), REQUEST, first=2)
    assert (result.logprobs, result.cached_tokens) == ((-1.0, -2.0), 32)


def test_plain_scores_are_cut_to_the_wanted_positions() -> None:
    from rlt_service.engine.vllm_requests import score_of

    assert score_of(prompt_answer([6, 7, 8], [-9.0, -1.0, -2.0]), REQUEST, first=1).logprobs == (-1.0, -2.0)


@pytest.mark.parametrize(
    ("token_ids", "logprobs"),
    [
        ([8], [-1.0]),
        ([6, 7, 8], [-1.0, -1.0, -1.0]),
        ([7, 9], [-1.0, -1.0]),
        ([7, 8], [-1.0, math.nan]),
        ([7, 8], [-math.inf, -1.0]),
    ],
)
def test_missing_surplus_misplaced_or_non_finite_score_is_an_error(token_ids: list[int], logprobs: list[float]) -> None:
    from rlt_service.engine.vllm_requests import score_of

    with pytest.raises(ScoringError):
        score_of(prompt_answer(token_ids, logprobs), REQUEST, first=2)


def test_answer_without_scores_is_an_error() -> None:
    from rlt_service.engine.vllm_requests import score_of

    with pytest.raises(ScoringError):
        score_of(SimpleNamespace(prompt_logprobs=None), REQUEST, first=2)  # pyright: ignore[reportArgumentType] - a double


@pytest.mark.parametrize(("token_ids", "logprobs"), [([7], [-1.0]), ([7, 9], [-1.0, -1.0]), ([7, 8], [-1.0, math.nan])])
def test_tokens_with_other_logprobs_than_theirs_are_an_error(token_ids: list[int], logprobs: list[float]) -> None:
    from rlt_service.engine.vllm_requests import delta_of

    with pytest.raises(ScoringError):
        delta_of(completion_answer([7, 8], flat(token_ids, logprobs)), index=0)


def test_a_completion_is_all_of_its_deltas() -> None:
    from rlt_service.engine.vllm_requests import completion_of, delta_of

    answers = [
        completion_answer([7, 8], flat([7, 8], [-1.0, -2.0]), finish_reason=None),
        completion_answer([], flat([], []), finish_reason=None),
        completion_answer([9], flat([9], [-3.0]), finish_reason="length"),
    ]
    made = completion_of(answers[-1], [delta_of(answer, index=4) for answer in answers], index=4)
    assert (made.index, made.token_ids, made.logprobs) == (4, (7, 8, 9), (-1.0, -2.0, -3.0))
    assert (made.finish_reason, made.cached_tokens) == ("length", 32)


def test_aborted_completion_is_no_completion() -> None:
    from rlt_service.engine.vllm_requests import completion_of, delta_of

    with pytest.raises(EngineUnavailableError, match="abort"):
        delta_of(completion_answer([7], None, finish_reason="abort"), index=0)
    for last in (None, completion_answer([], flat([], []), finish_reason=None)):
        with pytest.raises(EngineUnavailableError, match="None"):
            completion_of(last, [], index=0)


def test_samples_of_one_request_and_of_the_next_seed_all_get_seeds_of_their_own() -> None:
    from rlt_service.engine.vllm_requests import generation_params

    seeds = {
        generation_params(
            replace(GENERATION, seed=seed), index=index, end_ids=(2,), banned_ids=(0, 1), in_deltas=False
        ).seed
        for seed in (4, 5)
        for index in (0, 1)
    }
    assert len(seeds) == 4


def test_how_to_sample_is_told_as_it_was_asked() -> None:
    from rlt_service.engine.vllm_requests import generation_params

    asked = replace(GENERATION, top_p=0.9, top_k=8)
    params = generation_params(asked, index=0, end_ids=(2,), banned_ids=(), in_deltas=False)
    assert (params.temperature, params.top_p, params.top_k) == (0.7, 0.9, 8)
    params = generation_params(GENERATION, index=0, end_ids=(2,), banned_ids=(), in_deltas=False)
    assert (params.top_p, params.top_k) == (1.0, 0)


def test_banned_ids_get_no_probability_at_all() -> None:
    from rlt_service.engine.vllm_requests import generation_params

    params = generation_params(GENERATION, index=0, end_ids=(2,), banned_ids=(0, 1), in_deltas=False)
    assert params.logit_bias == {0: -math.inf, 1: -math.inf}
    assert params.stop_token_ids == [2]


@pytest.mark.parametrize(("stop_text", "stops"), [("</x>", ["</x>"]), ("", [])])
def test_without_a_closing_tag_only_an_end_token_ends_a_completion(stop_text: str, stops: list[str]) -> None:
    from rlt_service.engine.vllm_requests import generation_params

    asked = replace(GENERATION, stop_text=stop_text)
    params = generation_params(asked, index=0, end_ids=[2], banned_ids=[3], in_deltas=False)
    assert (params.stop, params.stop_token_ids) == (stops, [2])
