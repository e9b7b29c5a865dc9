"""A score depends on its sequence and version alone: not on order, batch, cache, or where prompts are cut into steps.

vLLM's own prompt log-probs do depend on the order of requests where prefixes are cached (#42019). Of the twenty
items a third belongs to the base, the others to two adapters on it.
"""

import asyncio
import random
import shutil
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import torch

from benchmarks.adapters import with_random_lora
from benchmarks.exact.reference import load_reference
from benchmarks.reliability.tiny_model import save_tiny_model
from rlt_core.artifacts import adapter_sha256
from rlt_core.errors import InvalidAdapterError, InvalidRequestError
from rlt_service.engine import vllm_engine, vllm_process
from rlt_service.engine.protocol import AdapterRef, SequenceScoreRequest, Weights
from rlt_service.engine.self_check import CheckResult
from rlt_service.engine.vllm_engine import VllmEngine
from rlt_service.engine.vllm_scoring import prove_scoring
from rlt_service.engine.vllm_state import RunningVllm
from rlt_service.settings import Settings

pytestmark = [pytest.mark.real, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="module")]

TOLERANCE = 1e-4
BATCHES = (1, 2, 3, 4, 5, 6, 7, 10, 13, 20)


class ForgettingEngine(VllmEngine):
    """The engine, with a way to start cold."""

    async def forget(self) -> None:
        """Drop the prefix cache."""
        assert await self._state.llm.reset_prefix_cache()

    async def unload(self, adapter: AdapterRef) -> None:
        """Have a version leave the engine; its cached prefixes stay."""
        await self._state.adapters.forget(adapter)
        assert adapter.version not in (await self.health()).loaded_versions

    async def call_worker(self, name: str) -> Any:
        """Call a method of the worker."""
        return (await self._state.llm.collective_rpc(name))[0]

    def core(self) -> Any:
        """Give the process of vLLM's core."""
        client: Any = self._state.llm.engine_core
        (process,) = client.resources.engine_manager.processes
        return process


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
    with pytest.MonkeyPatch.context() as patch:
        theirs = vllm_process._arguments

        def watched(options: Any) -> Any:
            found = theirs(options)
            found.worker_extension_cls = "tests.support.step_watch.StepWatch"
            return found

        patch.setattr(vllm_process, "_arguments", watched)
        await engine.start()
    await engine.call_worker("watch_steps")
    yield engine
    core = engine.core()
    await engine.stop()
    assert core.exitcode == 0  # it ended by itself, before vLLM's patience did


@pytest.fixture(scope="module")
def models(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[AdapterRef | None, Any]:
    """Give the base and two adapters on it, each with transformers' or PEFT's model of it."""
    found: dict[AdapterRef | None, Any] = {None: load_reference(tiny_folder)}
    for seed in (1, 2):
        folder = tmp_path_factory.mktemp("adapter")
        model = with_random_lora(load_reference(tiny_folder), folder=folder, base_model=tiny_folder.name, seed=seed)
        found[AdapterRef(version=f"tiny@{seed}", path=folder, sha256=adapter_sha256(folder))] = model
    return found


@pytest.fixture(scope="module")
def items(models: dict[AdapterRef | None, Any]) -> list[SequenceScoreRequest]:
    """Twenty: four questions of different length, explanations that share their beginnings, at 0.7 and at 1.

    Of each question some belong to the base, some to each adapter.
    """
    dice, adapters = random.Random(5), cycle(models)
    made: list[SequenceScoreRequest] = []
    for length in (31, 64, 97, 200):
        question = dice.choices(range(3, 259), k=length)
        beginning = dice.choices(range(3, 259), k=70)
        for number in range(5):
            ids = question + beginning[: 35 * (number % 3)] + dice.choices(range(3, 259), k=20 + 9 * number)
            temperature = (0.7, 1.0)[number % 2]
            made.append(
                SequenceScoreRequest(
                    token_ids=tuple(ids), start=length, temperature=temperature, adapter=next(adapters)
                )
            )
    return made


@pytest.fixture(scope="module")
def expected(models: dict[AdapterRef | None, Any], items: list[SequenceScoreRequest]) -> list[list[float]]:
    return [_forward(models[item.adapter], item) for item in items]


async def test_another_version_would_be_seen(
    models: dict[AdapterRef | None, Any], items: list[SequenceScoreRequest], expected: list[list[float]]
) -> None:
    for item, wanted in zip(items, expected, strict=True):
        for model in (model for adapter, model in models.items() if adapter != item.adapter):
            assert _apart(_forward(model, item), wanted) > 100 * TOLERANCE


async def test_scores_are_the_same_in_every_order_and_batch_cold_and_warm(
    engine: ForgettingEngine, items: list[SequenceScoreRequest], expected: list[list[float]]
) -> None:
    dice = random.Random(7)
    for number, batch in enumerate(BATCHES):
        order = dice.sample(range(len(items)), k=len(items))
        await engine.forget()
        for state in ("cold", "warm"):
            got = await _score_in_batches(engine, [items[place] for place in order], batch=batch)
            for place, logprobs in zip(order, got, strict=True):
                worst = _apart(expected[place], logprobs)
                assert worst < TOLERANCE, f"order {number}, batches of {batch}, {state}, item {place}"


async def test_all_at_once_from_many_callers_is_the_same_too(
    engine: ForgettingEngine, items: list[SequenceScoreRequest], expected: list[list[float]]
) -> None:
    await engine.forget()
    answers = await asyncio.gather(*[engine.score([item]) for item in items for _ in range(2)])
    for place, (answer,) in enumerate(answers):
        assert _apart(expected[place // 2], answer.logprobs) < TOLERANCE


async def test_sequences_of_several_callers_are_computed_in_one_step_and_score_as_alone(
    engine: ForgettingEngine, models: dict[AdapterRef | None, Any]
) -> None:
    dice = random.Random(11)
    short = [  # so that two find room in the smaller step
        SequenceScoreRequest(
            token_ids=tuple(dice.choices(range(3, 259), k=20)), start=4, temperature=0.7, adapter=adapter
        )
        for adapter in (*models, *models)
    ]
    await engine.forget()
    await engine.call_worker("seen_steps")
    # Each call is a task of its own, and so a caller of its own.
    answers = await asyncio.gather(*[asyncio.create_task(engine.score([item])) for item in short])
    assert max(map(len, await engine.call_worker("seen_steps"))) >= 2
    for item, (answer,) in zip(short, answers, strict=True):
        assert _apart(_forward(models[item.adapter], item), answer.logprobs) < TOLERANCE


async def test_a_version_that_comes_back_is_itself_and_its_name_is_no_other_adapters(
    engine: ForgettingEngine, models: dict[AdapterRef | None, Any], items: list[SequenceScoreRequest], tmp_path: Path
) -> None:
    """Left alone, vLLM would go on with states that the first adapter of a name left in the cache (#30931, #42125)."""
    first, second = [adapter for adapter in models if adapter is not None]
    folder = tmp_path / "reused"
    shutil.copytree(first.path, folder)
    reused = AdapterRef(version="reused@1", path=folder, sha256=first.sha256)
    item = replace(items[-1], adapter=reused)
    for cached in (0, (item.start - 1) // 32 * 32):  # before it left the engine, and after it came back
        (result,) = await engine.score([item])
        assert result.cached_tokens == cached
        assert _apart(_forward(models[first], item), result.logprobs) < TOLERANCE
        await engine.unload(reused)
    shutil.copytree(second.path, folder, dirs_exist_ok=True)
    with pytest.raises(InvalidAdapterError, match="never changes"):
        await engine.score([replace(item, adapter=replace(reused, sha256=second.sha256))])
    (result,) = await engine.score([replace(item, adapter=replace(second, version="reused@2"))])
    assert result.cached_tokens == 0
    assert _apart(_forward(models[second], item), result.logprobs) < TOLERANCE


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
        model = load_reference(tiny_folder)
        item = replace(next(item for item in items if item.temperature == 1.0), adapter=None)
        (result,) = await engine.score([item])
        assert _apart(_forward(model, item), result.logprobs) < TOLERANCE
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


def _apart(left: Sequence[float], right: Sequence[float]) -> float:
    return max(abs(a - b) for a, b in zip(left, right, strict=True))


def _forward(model: Any, item: SequenceScoreRequest) -> list[float]:
    with torch.no_grad():
        logits_TV = model(torch.tensor([list(item.token_ids)])).logits[0, item.start - 1 : -1]
    logprobs_TV = torch.log_softmax(logits_TV.double() / item.temperature, dim=-1)
    return logprobs_TV.gather(1, torch.tensor(item.token_ids[item.start :])[:, None])[:, 0].tolist()
