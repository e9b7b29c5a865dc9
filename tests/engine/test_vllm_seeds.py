"""Seeds on the real engine, also for prompts that one step cannot read whole."""

import asyncio

import pytest

from rlt_service.engine.protocol import Engine, GenerateRequest, GenerateResult

pytestmark = [pytest.mark.real, pytest.mark.timeout(400), pytest.mark.asyncio(loop_scope="session")]

LONG_PROMPTS = 14
"""Together more tokens than one step of the engine takes, so some of them are read in parts."""


def seeded(engine: Engine, *, words: int, seed: int) -> GenerateRequest:
    return GenerateRequest(
        prompt_token_ids=engine.codec.encode_text(f"{seed} " + "one two three four " * words),
        adapter=None,
        n=1,
        temperature=1.0,
        top_p=1.0,
        max_tokens=4,
        seed=seed,
        stop_text=engine.codec.format.explanation_close,
    )


def ids_of(result: GenerateResult) -> tuple[int, ...]:
    return result.completions[0].token_ids


async def test_seeded_requests_whose_prompts_are_read_in_parts_leave_the_engine_alive(real_engine: Engine) -> None:
    requests = [seeded(real_engine, words=100, seed=seed) for seed in range(LONG_PROMPTS)]
    together = await asyncio.gather(*[real_engine.generate(request) for request in requests])
    assert (await real_engine.health()).alive
    alone = await real_engine.generate(requests[-1])
    assert ids_of(alone) == ids_of(together[-1])
