"""Policies of all weights: those of a job follow one another in one engine, and each answers by its own weights."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from rlt_core.errors import EngineUnavailableError, InvalidWeightsError, ModelNotFoundError
from rlt_service.engine.protocol import FullRef, GenerateRequest
from rlt_service.full_engines import FullEngines
from tests.engine.model_files import full_ref, write_model
from tests.support.engines import Workshop

JOB, OTHER = "job_0123456789abcdef0123", "job_9123456789abcdef0123"


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest_asyncio.fixture
async def pool(workshop: Workshop) -> AsyncIterator[FullEngines]:
    made = FullEngines(workshop.make, most=2)
    yield made
    await made.stop(grace_s=0.0)


@pytest.fixture
def policies(tmp_path: Path) -> list[FullRef]:
    return [full_ref(write_model(tmp_path / str(n), seed=n), version=f"{JOB}.1@{n}") for n in range(3)]


async def sample(pool: FullEngines, ref: FullRef) -> tuple[object, tuple[int, ...]]:
    """Give the engine that a policy has, and what it writes, which follows from its weights."""
    request = GenerateRequest(
        prompt_token_ids=[5, 6, 7],
        adapter=None,
        n=1,
        temperature=1.0,
        top_p=1.0,
        max_tokens=64,
        seed=1,
        stop_text="<|end_of_explanation|>",
    )
    async with pool.lease("fake", ref) as engine:
        [made] = (await engine.generate(request)).completions
        return engine, (*made.token_ids, round(sum(made.logprobs) * 1000))


async def test_policies_of_a_job_follow_one_another_in_one_engine(
    workshop: Workshop, pool: FullEngines, policies: list[FullRef]
) -> None:
    found = [await sample(pool, ref) for ref in policies]
    assert len(workshop.made) == 1
    assert {id(engine) for engine, _ in found} == {id(workshop.made[0])}
    alone = FullEngines(Workshop().make, most=3)
    versions = [FullRef(version=f"big@{n}", path=ref.path, sha256=ref.sha256) for n, ref in enumerate(policies)]
    assert [text for _, text in found] == [(await sample(alone, ref))[1] for ref in versions]
    assert len({text for _, text in found}) == 3
    await alone.stop(grace_s=0.0)


async def test_a_policy_waits_for_what_runs_on_the_one_before(
    workshop: Workshop, pool: FullEngines, policies: list[FullRef]
) -> None:
    async with pool.lease("fake", policies[0]):
        waiting = [asyncio.create_task(sample(pool, policies[1])) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in waiting)
    assert len({text for _, text in await asyncio.gather(*waiting)}) == 1
    assert len(workshop.made) == 1


async def test_a_policy_that_is_no_longer_loaded_is_refused(pool: FullEngines, policies: list[FullRef]) -> None:
    await sample(pool, policies[1])
    with pytest.raises(ModelNotFoundError, match=rf"{JOB}\.1@0 is no longer loaded.*gone on to {JOB}\.1@1"):
        await sample(pool, policies[0])


async def test_the_policies_of_a_later_attempt_follow_too_and_another_jobs_have_an_engine_of_their_own(
    workshop: Workshop, pool: FullEngines, policies: list[FullRef]
) -> None:
    await sample(pool, policies[2])
    again = FullRef(version=f"{JOB}.2@1", path=policies[1].path, sha256=policies[1].sha256)
    await sample(pool, again)
    assert len(workshop.made) == 1
    others = FullRef(version=f"{OTHER}.1@0", path=policies[0].path, sha256=policies[0].sha256)
    await sample(pool, others)
    assert len(workshop.made) == 2


async def test_an_engine_that_could_not_take_up_a_policy_is_ended_and_the_next_one_starts_whole(
    workshop: Workshop, pool: FullEngines, policies: list[FullRef]
) -> None:
    await sample(pool, policies[0])
    write_model(policies[1].path, seed=9)
    with pytest.raises(InvalidWeightsError, match="changed after they were registered"):
        await sample(pool, policies[1])
    assert workshop.running() == []
    _, text = await sample(pool, policies[2])
    assert len(workshop.made) == 2
    assert workshop.made[1].weights.full == policies[2]
    assert text


async def test_an_engine_that_dies_after_it_took_up_a_policy_starts_again_with_that_one(
    workshop: Workshop, pool: FullEngines, policies: list[FullRef]
) -> None:
    await sample(pool, policies[0])
    _, before = await sample(pool, policies[1])
    await workshop.made[0].die()
    while len(workshop.made) < 2:
        await asyncio.sleep(0.01)
    while not workshop.made[1].running:
        await asyncio.sleep(0.01)
    _, after = await sample(pool, policies[1])
    assert after == before


async def test_an_engine_that_died_is_not_kept_for_the_next_policy(
    workshop: Workshop, pool: FullEngines, policies: list[FullRef]
) -> None:
    await sample(pool, policies[0])
    await workshop.made[0].die()
    with pytest.raises(EngineUnavailableError):
        await sample(pool, policies[1])
    await sample(pool, policies[1])
    assert workshop.made[-1].weights.full == policies[1]
