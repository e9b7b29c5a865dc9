"""A score depends on its sequence alone: not on order, batch, cache, or where prompts are cut into steps.

vLLM's own prompt log-probs do depend on the order of requests where prefixes are cached (#42019).
"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import torch
from transformers import AutoModelForCausalLM

from benchmarks.reliability.tiny_model import save_tiny_model
from rlt_core.errors import InvalidRequestError
from rlt_service.engine import vllm_engine
from rlt_service.engine.protocol import SequenceScoreRequest, Weights
from rlt_service.engine.self_check import CheckResult
from rlt_service.engine.vllm_engine import VllmEngine
from rlt_service.engine.vllm_scoring import prove_scoring
from rlt_service.engine.vllm_state import RunningVllm
from rlt_service.settings import Settings

pytestmark = [pytest.mark.real, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]

TOLERANCE = 1e-4
ORDERS = 10
BATCHES = (1, 2, 3, 5, 7, 20)


class ForgettingEngine(VllmEngine):
    """The engine, with a way to start cold."""

    async def forget(self) -> None:
        """Drop the prefix cache."""
        assert await self._state.llm.reset_prefix_cache()


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=[48, 2048], ids=["chunked", "whole"])
async def engine(
    request: pytest.FixtureRequest, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory, warm_caches: None
) -> AsyncIterator[ForgettingEngine]:
    settings = Settings(
        home=tmp_path_factory.mktemp("home"),
        max_batched_tokens=request.param,
        kv_cache_gib=0.1,
        max_model_len=1024,
    )
    engine = ForgettingEngine(settings, Weights(base_model=str(tiny_folder)))
    await engine.start()
    yield engine
    await engine.stop()


@pytest.fixture(scope="module")
def items() -> list[SequenceScoreRequest]:
    """Twenty: four questions of different length, explanations that share their beginnings, wanted from 0.7 to 1."""
    dice = random.Random(5)
    made: list[SequenceScoreRequest] = []
    for length in (31, 64, 97, 200):
        question = dice.choices(range(3, 259), k=length)
        beginning = dice.choices(range(3, 259), k=70)
        for number in range(5):
            ids = question + beginning[: 35 * (number % 3)] + dice.choices(range(3, 259), k=20 + 9 * number)
            temperature = (0.7, 1.0)[number % 2]
            made.append(SequenceScoreRequest(token_ids=tuple(ids), start=length, temperature=temperature, adapter=None))
    return made


@pytest.fixture(scope="module")
def expected(tiny_folder: Path, items: list[SequenceScoreRequest]) -> list[list[float]]:
    model: Any = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32).eval()
    return [_forward(model, item) for item in items]


async def test_scores_are_the_same_in_every_order_and_batch_cold_and_warm(
    engine: ForgettingEngine, items: list[SequenceScoreRequest], expected: list[list[float]]
) -> None:
    dice = random.Random(7)
    for number in range(ORDERS):
        order, batch = dice.sample(range(len(items)), k=len(items)), BATCHES[number % len(BATCHES)]
        await engine.forget()
        for state in ("cold", "warm"):
            got = await _score_in_batches(engine, [items[place] for place in order], batch=batch)
            for place, logprobs in zip(order, got, strict=True):
                worst = max(abs(a - b) for a, b in zip(expected[place], logprobs, strict=True))
                assert worst < TOLERANCE, f"order {number}, batches of {batch}, {state}, item {place}"


async def test_all_at_once_from_many_callers_is_the_same_too(
    engine: ForgettingEngine, items: list[SequenceScoreRequest], expected: list[list[float]]
) -> None:
    await engine.forget()
    answers = await asyncio.gather(*[engine.score([item]) for item in items for _ in range(2)])
    for place, (answer,) in enumerate(answers):
        wanted = expected[place // 2]
        assert max(abs(a - b) for a, b in zip(wanted, answer.logprobs, strict=True)) < TOLERANCE


async def test_a_sequence_scored_before_is_read_from_the_cache_up_to_its_first_wanted_state(
    engine: ForgettingEngine, items: list[SequenceScoreRequest]
) -> None:
    item = items[-1]
    await engine.score([item])
    (again,) = await engine.score([item])
    assert again.cached_tokens == (item.start - 1) // 32 * 32


async def test_fast_math_proves_itself_and_an_engine_whose_worker_does_not_scores_as_vllm_does(
    tiny_folder: Path,
    tmp_path: Path,
    warm_caches: None,
    items: list[SequenceScoreRequest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found: list[CheckResult] = []

    async def failing(running: RunningVllm) -> CheckResult:
        found.append(await prove_scoring(running))
        return CheckResult(fault="another code ran", largest_difference=1.0)

    monkeypatch.setattr(vllm_engine, "prove_scoring", failing)
    settings = Settings(home=tmp_path, kv_cache_gib=0.1, max_model_len=1024, scoring_math="fast")
    engine = VllmEngine(settings, Weights(base_model=str(tiny_folder)))
    await engine.start()
    try:
        assert [result.fault for result in found] == [""]  # in one engine for the time that each takes to start
        assert engine.info.scoring == "plain"
        model: Any = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32).eval()
        item = next(item for item in items if item.temperature == 1.0)
        (result,) = await engine.score([item])
        assert max(abs(a - b) for a, b in zip(_forward(model, item), result.logprobs, strict=True)) < TOLERANCE
        with pytest.raises(InvalidRequestError):
            await engine.score([replace(item, temperature=0.7)])
    finally:
        await engine.stop()


async def _score_in_batches(
    engine: VllmEngine, items: Sequence[SequenceScoreRequest], *, batch: int
) -> list[tuple[float, ...]]:
    rest, found = iter(items), []
    while part := list(islice(rest, batch)):
        found += [result.logprobs for result in await engine.score(part)]
    return found


def _forward(model: Any, item: SequenceScoreRequest) -> list[float]:
    with torch.no_grad():
        logits_TV = model(torch.tensor([list(item.token_ids)])).logits[0, item.start - 1 : -1]
    logprobs_TV = torch.log_softmax(logits_TV.double() / item.temperature, dim=-1)
    return logprobs_TV.gather(1, torch.tensor(item.token_ids[item.start :])[:, None])[:, 0].tolist()
