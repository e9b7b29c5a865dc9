"""Generation on the real engine: prompts shared by samples, seeds, tokens as they are sampled."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import pytest

from rlt_core.formats import ExplanationPiece
from rlt_service.engine.protocol import Completion, CompletionDelta, Engine, GenerateRequest, SequenceScoreRequest
from tests.support.engine_processes import busy_share, check_rests

pytestmark = [pytest.mark.real, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="session")]

BLOCK_TOKENS = 32


def asked(engine: Engine, question: str, **changes: object) -> GenerateRequest:
    """Ask after an example, so that the model closes its tag soon."""
    codec = engine.codec
    example = codec.teacher_sequence(
        question="Ali has 2 coins and finds 3. How many?", solution="5", explanation=ExplanationPiece(text="2 + 3 = 5.")
    )
    request = GenerateRequest(
        prompt_token_ids=example.token_ids + codec.teacher_sequence(question=question, solution="7").token_ids,
        adapter=None,
        n=1,
        temperature=0.7,
        top_p=1.0,
        max_tokens=16,
        seed=5,
        stop_text=codec.format.explanation_close,
    )
    return replace(request, **changes)


async def test_samples_of_one_prompt_compute_its_whole_blocks_once(real_engine: Engine) -> None:
    request = asked(real_engine, "Fatima has 3 pears and buys 4. How many?", n=16, max_tokens=4)
    seen_before = asked(real_engine, "Another question of the same instruction?", max_tokens=1)
    await real_engine.generate(seen_before)
    result = await real_engine.generate(request)
    cached = [completion.cached_tokens for completion in result.completions]
    # The last token of a prompt is always computed: its hidden state gives the first sample.
    whole = (len(request.prompt_token_ids) - 1) // BLOCK_TOKENS * BLOCK_TOKENS
    assert sorted(cached)[1:] == [whole] * 15
    assert min(cached) < whole
    assert result.cached_tokens == sum(cached)


async def test_a_seed_reproduces_where_nothing_else_runs(real_engine: Engine) -> None:
    request = asked(real_engine, "Kim has 6 shells and finds 1. How many?", n=4, temperature=1.0, max_tokens=24)
    first, again = [await real_engine.generate(request) for _ in range(2)]
    assert [made.token_ids for made in first.completions] == [made.token_ids for made in again.completions]
    assert len({made.token_ids for made in first.completions}) > 1


async def test_text_comes_as_it_is_sampled_and_joined_is_the_explanation(real_engine: Engine) -> None:
    codec = real_engine.codec
    request = asked(real_engine, "Carla has 3 coins and finds 4. How many?", n=4, max_tokens=40)
    readers = [codec.explanation_reader() for _ in range(request.n)]
    texts = [""] * request.n
    first_after_deltas = 0
    made: list[Completion] = []
    async for piece in real_engine.generate_stream(request):
        if isinstance(piece, CompletionDelta):
            texts[piece.index] += readers[piece.index].feed(piece.token_ids)
            first_after_deltas += not made
        else:
            texts[piece.index] += readers[piece.index].finish()
            made.append(piece)
    parsed = {completion.index: codec.parse_completion(completion.token_ids) for completion in made}
    assert texts == [parsed[index].text for index in range(request.n)]
    assert any(one.well_formed for one in parsed.values())
    assert first_after_deltas > request.n


async def test_closing_a_stream_frees_the_engine_at_once(real_engine: Engine) -> None:
    request = asked(real_engine, "What is left?", n=2, max_tokens=1500)
    stream: AsyncGenerator[CompletionDelta | Completion] = real_engine.generate_stream(request)
    async with aclosing(stream):
        await anext(stream)
    async with asyncio.timeout(1.0):
        while (await real_engine.health()).in_flight:
            await asyncio.sleep(0.01)


async def test_an_engine_rests_when_the_only_caller_has_gone(real_engine: Engine) -> None:
    """Seen at vLLM's own processes: what they compute by, not what we count."""
    request = asked(real_engine, "What is left?", n=8, max_tokens=1500)
    stream: AsyncGenerator[CompletionDelta | Completion] = real_engine.generate_stream(request)
    async with aclosing(stream):
        await anext(stream)
        at_work = await busy_share()
    await check_rests(at_work=at_work)


async def test_who_generates_does_not_wait_for_a_bulk_of_scores(real_engine: Engine) -> None:
    dice, control = random.Random(3), real_engine.codec.control_token_ids
    words = [token for token in range(real_engine.codec.vocab_size) if token not in control]
    scores = [
        asyncio.create_task(
            real_engine.score(
                [SequenceScoreRequest(token_ids=dice.choices(words, k=500), start=250, temperature=1.0, adapter=None)]
            )
        )
        for _ in range(24)
    ]
    await asyncio.wait(scores, return_when=asyncio.FIRST_COMPLETED)
    # Each token beside a full step of 2,048 would let four of them end.
    await real_engine.generate(asked(real_engine, "Who is first?", max_tokens=12))
    assert sum(task.done() for task in scores) < len(scores) // 2
    for task in scores[4:]:
        task.cancel()
    results = [result for (result,) in await asyncio.gather(*scores[:4])]
    assert all(len(result.logprobs) == 250 for result in results)
    await asyncio.gather(*scores, return_exceptions=True)
