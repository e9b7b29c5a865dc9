"""What every engine promises, run on the double and (marked real) on vLLM."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from rlt_core.errors import (
    InvalidAdapterError,
    InvalidRequestError,
    InvalidTokenIdsError,
    PromptTooLongError,
)
from rlt_core.formats import ExplanationPiece
from rlt_service.engine.fake_engine import FakeEngine
from rlt_service.engine.protocol import (
    AdapterRef,
    Completion,
    CompletionDelta,
    Engine,
    GenerateRequest,
    SequenceScoreRequest,
)
from tests.engine.adapter_files import write_adapter

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]


@pytest_asyncio.fixture(loop_scope="session")
async def fake() -> AsyncIterator[Engine]:
    engine = FakeEngine()
    await engine.start()
    yield engine
    await engine.stop()


@pytest.fixture(params=["fake", pytest.param("real_engine", marks=pytest.mark.real)])
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.getfixturevalue(request.param)


def generation(engine: Engine, **changes: object) -> GenerateRequest:
    """Ask for explanations after an example of one, so that the real model closes its tag soon, too."""
    codec = engine.codec
    example = codec.teacher_sequence(
        question="Ali has 2 coins and finds 3. How many?", solution="5", explanation=ExplanationPiece(text="2 + 3 = 5.")
    )
    prompt = codec.teacher_sequence(question="Carla has 3 coins and finds 4. How many?", solution="7")
    request = GenerateRequest(
        prompt_token_ids=example.token_ids + prompt.token_ids,
        adapter=None,
        n=4,
        temperature=0.7,
        top_p=1.0,
        max_tokens=120 if engine.info.name == "fake" else 40,
        seed=3,
        stop_text=codec.format.explanation_close,
    )
    return replace(request, **changes)


def scoring(engine: Engine, **changes: object) -> SequenceScoreRequest:
    ids = tuple(engine.codec.encode_text("Three and four make seven, and seven and one make eight."))
    request = SequenceScoreRequest(token_ids=ids, start=4, temperature=0.7, adapter=None)
    return replace(request, **changes)


async def test_every_generated_token_has_a_finite_logprob(engine: Engine) -> None:
    result = await engine.generate(generation(engine, max_tokens=6))
    assert [completion.index for completion in result.completions] == [0, 1, 2, 3]
    for completion in result.completions:
        assert len(completion.token_ids) == len(completion.logprobs) > 0
        assert all(-1000.0 < value <= 0.0 for value in completion.logprobs)


async def test_stopped_completion_ends_with_the_token_that_completes_the_tag(engine: Engine) -> None:
    request = generation(engine)
    codec = engine.codec
    result = await engine.generate(request)
    stopped = [
        c for c in result.completions if c.finish_reason == "stop" and c.token_ids[-1] not in codec.end_token_ids
    ]
    assert stopped
    for completion in stopped:
        assert request.stop_text in codec.decode(completion.token_ids)
        assert request.stop_text not in codec.decode(completion.token_ids[:-1])


async def test_completion_never_grows_beyond_max_tokens(engine: Engine) -> None:
    result = await engine.generate(generation(engine, max_tokens=5))
    for completion in result.completions:
        assert completion.finish_reason == "length"
        assert len(completion.token_ids) == 5


async def test_same_seed_gives_the_same_completions_and_another_seed_others(engine: Engine) -> None:
    first, again, other = [
        [c.token_ids for c in (await engine.generate(generation(engine, seed=seed, n=2, max_tokens=12))).completions]
        for seed in (3, 3, 4)
    ]
    assert first == again != other
    assert len(set(first)) > 1


async def test_sampled_and_scored_logprobs_agree(engine: Engine) -> None:
    request = generation(engine, n=1, max_tokens=16)
    (completion,) = (await engine.generate(request)).completions
    prompt = tuple(request.prompt_token_ids)
    (scored,) = await engine.score(
        [scoring(engine, token_ids=prompt + completion.token_ids, start=len(prompt), temperature=0.7)]
    )
    assert scored.logprobs == pytest.approx(completion.logprobs, abs=1e-3)


async def test_greedy_completion_is_the_same_for_any_seed_with_logprobs_at_one(engine: Engine) -> None:
    request = generation(engine, n=1, max_tokens=12, temperature=0.0)
    (first,) = (await engine.generate(request)).completions
    (other,) = (await engine.generate(replace(request, seed=99))).completions
    assert first.token_ids == other.token_ids
    prompt = tuple(request.prompt_token_ids)
    (scored,) = await engine.score(
        [scoring(engine, token_ids=prompt + first.token_ids, start=len(prompt), temperature=1.0)]
    )
    assert scored.logprobs == pytest.approx(first.logprobs, abs=1e-3)


async def test_stream_gives_every_token_as_it_comes_and_each_completion_once_after_its_own(engine: Engine) -> None:
    request = generation(engine, n=3, max_tokens=16)
    pieces = [piece async for piece in engine.generate_stream(request)]
    for index in range(3):
        *deltas, last = [piece for piece in pieces if piece.index == index]
        assert isinstance(last, Completion)
        assert all(isinstance(delta, CompletionDelta) and delta.token_ids for delta in deltas)
        assert len(deltas) > 1
        assert tuple(token for delta in deltas for token in delta.token_ids) == last.token_ids
        assert tuple(value for delta in deltas for value in delta.logprobs) == last.logprobs


async def test_stream_samples_what_the_whole_answer_samples(engine: Engine) -> None:
    request = generation(engine, n=2, max_tokens=12)
    streamed = [piece async for piece in engine.generate_stream(request) if isinstance(piece, Completion)]
    whole = (await engine.generate(request)).completions
    assert {made.index: made.token_ids for made in streamed} == {made.index: made.token_ids for made in whole}


async def test_score_gives_one_logprob_for_each_wanted_position_in_the_order_asked(engine: Engine) -> None:
    whole = scoring(engine, start=1)
    length = len(whole.token_ids)
    requests = [replace(whole, start=start) for start in (1, length - 1, 5)]
    results = await engine.score(requests)
    assert [len(result.logprobs) for result in results] == [length - 1, 1, length - 5]
    assert results[1].logprobs == pytest.approx(results[0].logprobs[-1:], abs=1e-4)
    assert results[2].logprobs == pytest.approx(results[0].logprobs[4:], abs=1e-4)


async def test_equal_requests_in_one_batch_get_equal_scores(engine: Engine) -> None:
    first, other, again = await engine.score([scoring(engine), scoring(engine, start=6), scoring(engine)])
    assert first == again
    assert other.logprobs == pytest.approx(first.logprobs[2:], abs=1e-4)


async def test_temperature_changes_scores(engine: Engine) -> None:
    cold, plain = await engine.score([scoring(engine), scoring(engine, temperature=1.0)])
    assert cold.logprobs != pytest.approx(plain.logprobs, abs=1e-2)


@pytest.mark.parametrize("start", [0, -1, 10_000])
async def test_start_outside_the_sequence_is_refused(engine: Engine, start: int) -> None:
    with pytest.raises(InvalidRequestError, match=str(start)):
        await engine.score([scoring(engine, start=start)])


@pytest.mark.parametrize("temperature", [0.0, 5e-324, 0.009, -1.0, float("nan"), float("inf")])
async def test_scoring_at_a_temperature_that_divides_nothing_is_refused(engine: Engine, temperature: float) -> None:
    with pytest.raises(InvalidRequestError, match="temperature"):
        await engine.score([scoring(engine, temperature=temperature)])


async def test_too_long_a_prompt_is_refused_with_both_lengths(engine: Engine) -> None:
    longest = engine.info.max_model_len
    with pytest.raises(PromptTooLongError, match=rf"{longest + 1}.*{longest}"):
        await engine.generate(generation(engine, prompt_token_ids=[20] * (longest - 5), max_tokens=6))
    with pytest.raises(PromptTooLongError, match=rf"{longest + 1}.*{longest}"):
        await engine.score([scoring(engine, token_ids=[20] * (longest + 1))])


async def test_longest_sequence_is_scored(engine: Engine) -> None:
    longest = engine.info.max_model_len
    (result,) = await engine.score([scoring(engine, token_ids=[20] * longest, start=longest - 2)])
    assert len(result.logprobs) == 2


@pytest.mark.parametrize("stray", [-1, 10_000_000])
async def test_ids_outside_the_vocabulary_are_refused(engine: Engine, stray: int) -> None:
    with pytest.raises(InvalidTokenIdsError, match=str(stray)):
        await engine.score([scoring(engine, token_ids=[20, 21, stray, 22, 23], start=1)])
    with pytest.raises(InvalidTokenIdsError, match=str(stray)):
        await engine.generate(generation(engine, prompt_token_ids=[20, stray]))


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 0},
        {"max_tokens": 0},
        {"prompt_token_ids": []},
        *({"temperature": value} for value in (-0.1, 5e-324, 0.009)),
    ],
)
async def test_generation_without_sense_is_refused(engine: Engine, changes: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError):
        await engine.generate(generation(engine, **changes))


async def test_cancelling_the_caller_leaves_nothing_in_flight(engine: Engine) -> None:
    task = asyncio.create_task(engine.generate(generation(engine, n=8, max_tokens=800)))
    while (await engine.health()).in_flight == 0:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await engine.health()).in_flight == 0
    assert await engine.score([scoring(engine)])


async def test_leaving_a_stream_early_leaves_nothing_in_flight(engine: Engine) -> None:
    stream = engine.generate_stream(generation(engine, n=4, max_tokens=60))
    async for _ in stream:
        break
    await stream.aclose()
    assert (await engine.health()).in_flight == 0


async def test_loaded_version_answers_differently_and_the_base_stays(engine: Engine, tmp_path: Path) -> None:
    (before,) = await engine.score([scoring(engine)])
    adapter = write_adapter(tmp_path / "one", version="contract@1")
    await engine.load(adapter)
    changed, after = await engine.score([scoring(engine, adapter=adapter), scoring(engine)])
    assert changed.logprobs != pytest.approx(before.logprobs, abs=1e-3)
    assert after.logprobs == pytest.approx(before.logprobs, abs=1e-4)
    assert "contract@1" in (await engine.health()).loaded_versions


async def test_version_that_was_never_loaded_is_loaded_at_its_first_use(engine: Engine, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "lazy", version="lazy@1")
    result = await engine.generate(generation(engine, adapter=adapter, n=1, max_tokens=4))
    assert len(result.completions) == 1
    assert "lazy@1" in (await engine.health()).loaded_versions


async def test_unfit_adapter_is_refused_at_load_and_at_use_and_the_engine_lives_on(
    engine: Engine, tmp_path: Path
) -> None:
    missing = AdapterRef(version="missing@1", path=tmp_path / "nowhere", sha256="0" * 64)
    with pytest.raises(InvalidAdapterError, match="missing@1"):
        await engine.load(missing)
    with pytest.raises(InvalidAdapterError, match="missing@1"):
        await engine.score([scoring(engine, adapter=missing)])
    health = await engine.health()
    assert health.alive
    assert "missing@1" not in health.loaded_versions


async def test_healthy_engine_says_so(engine: Engine) -> None:
    health = await engine.health()
    assert (health.alive, health.detail, health.in_flight) == (True, "is serving", 0)


async def test_engine_names_itself(engine: Engine) -> None:
    assert (engine.info.name, engine.info.scoring) in {("fake", "fake"), ("vllm", "worker")}
