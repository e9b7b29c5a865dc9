"""Scoring one sequence on a running engine, with a double in vLLM's place; vLLM itself must be installed."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rlt_core.errors import ConfigurationError, ScoringError
from rlt_service.engine.protocol import EngineInfo, SequenceScoreRequest
from rlt_tokens import byte_codec

pytestmark = pytest.mark.real

REQUEST = SequenceScoreRequest(token_ids=(5, 6, 7, 8), start=2, temperature=0.7, adapter=None)
INFO = EngineInfo(
    name="vllm",
    version="0.32.0",
    base_model="x",
    dtype="float32",
    device="cuda",
    max_model_len=100,
    max_lora_rank=8,
    scoring="worker",
)


class Double:
    """In AsyncLLM's place: answers by a rule, and notes what it was asked."""

    vllm_config = SimpleNamespace(parallel_config=SimpleNamespace(data_parallel_size=1))

    def __init__(self, answer: Callable[[Any, list[int]], Any], *, variants: tuple[str, ...] = ("v2",)) -> None:
        self.answer = answer
        self.asked: list[Any] = []
        self.salts: list[str | None] = []
        self.variants = variants

    async def generate(self, prompt: Any, params: Any, request_id: str, *, lora_request: Any) -> AsyncIterator[Any]:
        self.asked.append(params)
        self.salts.append(prompt.get("cache_salt"))
        yield self.answer(params, prompt["prompt_token_ids"])

    async def collective_rpc(self, method: str) -> list[Any]:
        return list(self.variants) if method == "scoring_variant" else [0]


def running(double: Any) -> Any:
    from rlt_service.engine.scoring_variants import VARIANTS
    from rlt_service.engine.vllm_state import RunningVllm

    nothing: Any = None
    return RunningVllm(
        llm=double,
        processes=(),
        codec=byte_codec(format_id="stratos@1"),
        info=INFO,
        banned_ids=(),
        pulse=nothing,
        adapters=nothing,
        scoring=VARIANTS["v2"],
    )


def scores(values: list[float] | None, *, cached: int = 0) -> Any:
    found = None if values is None else np.array(values, dtype=np.float32)[:, None]
    return SimpleNamespace(prompt_token_id_logprobs=found, num_cached_tokens=cached)


async def test_score_that_the_cache_left_whole_is_computed_once() -> None:
    from rlt_service.engine.vllm_scoring import score_one

    double = Double(lambda params, ids: scores([-1.0, -2.0], cached=1))
    result = await score_one(running(double), REQUEST, lora=None)
    assert (result.logprobs, result.cached_tokens, result.rescored) == ((-1.0, -2.0), 1, False)
    assert [params.skip_reading_prefix_cache for params in double.asked] == [False]


async def test_scores_share_cached_prefixes_with_scores_of_the_same_salt_alone() -> None:
    from rlt_service.engine.vllm_scoring import score_one

    double = Double(lambda params, ids: scores([-1.0, -2.0]) if params.skip_reading_prefix_cache else scores(None))
    for salt in (None, "ann", "bob"):
        await score_one(running(double), replace(REQUEST, cache_salt=salt), lora=None)
    once, again = double.salts[::2], double.salts[1::2]
    assert once == again
    assert len(set(once)) == 3
    assert None not in once
    params: Any = SimpleNamespace(skip_reading_prefix_cache=True)
    generated = [_ async for _ in running(double).outputs([1, 2], params, lora=None, cache_salt="ann")]
    assert generated
    assert double.salts[-1] == "ann"
    assert "ann" not in once


@pytest.mark.parametrize("gap", [scores([-9.0, -9.0], cached=2), scores(None), scores([float("nan"), -2.0])])
async def test_score_with_a_gap_is_computed_again_without_the_cache(gap: Any) -> None:
    from rlt_service.engine.vllm_scoring import score_one

    double = Double(lambda params, ids: scores([-1.0, -2.0]) if params.skip_reading_prefix_cache else gap)
    result = await score_one(running(double), REQUEST, lora=None)
    assert (result.logprobs, result.cached_tokens, result.rescored) == ((-1.0, -2.0), 0, True)


async def test_score_that_is_missing_without_the_cache_too_is_an_error() -> None:
    from rlt_service.engine.vllm_scoring import score_one

    with pytest.raises(ScoringError, match="none where 2 positions"):
        await score_one(running(Double(lambda params, ids: scores(None))), REQUEST, lora=None)


@pytest.mark.parametrize(("cached", "gap"), [(0, False), (1, False), (2, True), (4, True)])
def test_v1_has_a_gap_where_the_cache_reached_past_the_state_before_the_start(cached: int, gap: bool) -> None:
    from rlt_service.engine.scoring_variants import VARIANTS

    output: Any = SimpleNamespace(num_cached_tokens=cached)
    assert VARIANTS["v1"].has_gap(output, REQUEST) is gap


async def test_workers_say_how_to_speak_to_them() -> None:
    from rlt_service.engine.scoring_variants import VARIANTS
    from rlt_service.engine.vllm_scoring import read_variant

    for name in ("v1", "v2"):
        double: Any = Double(lambda params, ids: None, variants=(name, name))
        assert await read_variant(double) is VARIANTS[name]


async def test_runner_that_refuses_our_parameters_is_a_fault_and_no_failed_start() -> None:
    from vllm.exceptions import VLLMValidationError

    from rlt_service.engine.vllm_scoring import prove_scoring

    def refuse(params: Any, ids: list[int]) -> Any:
        raise VLLMValidationError("prompt_logprob_token_ids requires the V2 model runner")

    assert "requires the V2 model runner" in (await prove_scoring(running(Double(refuse)))).fault


async def test_engine_that_dies_of_the_check_ends_the_start_and_says_what_to_change() -> None:
    from vllm.v1.engine.exceptions import EngineDeadError

    from rlt_service.engine.vllm_scoring import prove_scoring

    def die(params: Any, ids: list[int]) -> Any:
        raise EngineDeadError

    with pytest.raises(ConfigurationError, match=r"V2Scoring.*VLLM_USE_V2_MODEL_RUNNER=0"):
        await prove_scoring(running(Double(die)))


@pytest.mark.parametrize(
    ("on_cpu", "banned_ids", "needed"), [(True, 0, True), (False, 0, False), (False, 1024, False), (False, 1025, True)]
)
def test_v1_runner_is_taken_only_where_v2_cannot_do_what_we_need(on_cpu: bool, banned_ids: int, needed: bool) -> None:
    from rlt_service.engine.vllm_process import needs_v1_runner

    assert needs_v1_runner(on_cpu=on_cpu, banned_ids=banned_ids) is needed
