"""The engines of fully trained versions: started when needed, shared, unloaded when idle, never while in use."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from rlt_core.errors import ConfigurationError, EngineUnavailableError, InvalidWeightsError
from rlt_service.engine.protocol import FullRef
from rlt_service.full_engines import FullEngines
from tests.engine.model_files import full_ref, write_model
from tests.support.engines import Workshop


@pytest.fixture
def workshop() -> Workshop:
    return Workshop()


@pytest_asyncio.fixture
async def pool(workshop: Workshop) -> AsyncIterator[FullEngines]:
    made = FullEngines(workshop.make, most=2)
    yield made
    await made.stop(grace_s=0.0)


@pytest.fixture
def refs(tmp_path: Path) -> list[FullRef]:
    return [full_ref(write_model(tmp_path / str(n), seed=n), version=f"big@{n}") for n in range(4)]


async def use(pool: FullEngines, ref: FullRef) -> object:
    async with pool.lease("fake", ref) as engine:
        return engine


async def test_first_requests_that_come_together_start_one_engine(
    workshop: Workshop, pool: FullEngines, refs: list[FullRef]
) -> None:
    engines = await asyncio.gather(*[use(pool, refs[0]) for _ in range(8)])
    assert len(workshop.made) == 1
    assert {id(engine) for engine in engines} == {id(workshop.made[0])}


async def test_an_engine_stays_for_the_next_request(workshop: Workshop, pool: FullEngines, refs: list[FullRef]) -> None:
    for _ in range(3):
        await use(pool, refs[0])
    assert len(workshop.made) == 1
    assert workshop.running() == ["big@0"]


async def test_the_same_weights_under_another_name_are_the_same_engine(
    workshop: Workshop, pool: FullEngines, refs: list[FullRef]
) -> None:
    again = FullRef(version="again@1", path=refs[0].path, sha256=refs[0].sha256)
    assert await use(pool, refs[0]) is await use(pool, again)


async def test_beyond_the_bound_the_one_idle_longest_is_unloaded_before_another_starts(
    workshop: Workshop, pool: FullEngines, refs: list[FullRef]
) -> None:
    for index in (0, 1, 0, 2):
        await use(pool, refs[index])
    assert sorted(workshop.running()) == ["big@0", "big@2"]
    assert workshop.most_running == 2


async def test_an_engine_in_use_is_never_unloaded(workshop: Workshop, pool: FullEngines, refs: list[FullRef]) -> None:
    async with pool.lease("fake", refs[0]) as engine:
        for ref in refs[1:]:
            await use(pool, ref)
        assert "big@0" in workshop.running()
        assert await use(pool, refs[0]) is engine


async def test_where_all_are_in_use_a_request_waits_for_one_to_become_idle(
    workshop: Workshop, pool: FullEngines, refs: list[FullRef]
) -> None:
    async with AsyncExitStack() as stack, pool.lease("fake", refs[1]):
        await stack.enter_async_context(pool.lease("fake", refs[0]))
        waiting = asyncio.create_task(use(pool, refs[2]))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await stack.aclose()
        await waiting
        assert sorted(workshop.running()) == ["big@1", "big@2"]


async def test_where_none_becomes_idle_in_time_callers_are_told_to_come_back(
    workshop: Workshop, refs: list[FullRef]
) -> None:
    pool = FullEngines(workshop.make, most=1, patience_s=0.1)
    async with pool.lease("fake", refs[0]):
        with pytest.raises(EngineUnavailableError, match=r"big@0.*RLT_MAX_FULL_ENGINES") as refused:
            await use(pool, refs[1])
        assert refused.value.retry_after_s
    await use(pool, refs[1])
    await pool.stop(grace_s=0.0)


async def test_a_start_that_outlasts_a_callers_patience_goes_on_for_the_next_one(
    workshop: Workshop, refs: list[FullRef]
) -> None:
    pool = FullEngines(workshop.make, most=1, patience_s=0.1)
    workshop.shut.add("big@0")
    with pytest.raises(EngineUnavailableError, match="still starting"):
        await use(pool, refs[0])
    workshop.of("big@0").may_start.set()
    await use(pool, refs[0])
    assert len(workshop.made) == 1
    await pool.stop(grace_s=0.0)


async def test_an_engine_that_is_starting_is_not_unloaded_when_its_callers_went_away(
    workshop: Workshop, refs: list[FullRef]
) -> None:
    pool = FullEngines(workshop.make, most=1)
    workshop.shut.add("big@0")
    gone = asyncio.create_task(use(pool, refs[0]))
    while not workshop.made:
        await asyncio.sleep(0.01)
    gone.cancel()
    await asyncio.wait([gone])
    other = asyncio.create_task(use(pool, refs[1]))
    await asyncio.sleep(0.05)
    assert len(workshop.made) == 1
    workshop.of("big@0").may_start.set()
    await other
    assert (workshop.running(), workshop.most_running) == (["big@1"], 1)
    await pool.stop(grace_s=0.0)


async def test_files_that_cannot_serve_are_the_fault_of_that_version_alone(
    workshop: Workshop, pool: FullEngines, refs: list[FullRef]
) -> None:
    write_model(refs[0].path, seed=9)
    for _ in range(2):
        with pytest.raises(InvalidWeightsError, match="changed after they were registered"):
            await use(pool, refs[0])
    await asyncio.gather(use(pool, refs[1]), use(pool, refs[2]))
    assert len(workshop.made) == 3  # the failure was remembered, and its place was free again


async def test_a_failure_is_that_of_a_folder_and_not_of_the_same_weights_elsewhere(
    workshop: Workshop, pool: FullEngines, refs: list[FullRef], tmp_path: Path
) -> None:
    elsewhere = full_ref(write_model(tmp_path / "elsewhere", seed=0), version="again@1")
    assert elsewhere.sha256 == refs[0].sha256
    workshop.failing["big@0"] = ConfigurationError("the folder lost a file")
    with pytest.raises(EngineUnavailableError):
        await use(pool, refs[0])
    await use(pool, elsewhere)
    assert workshop.running() == ["again@1"]


async def test_an_engine_that_does_not_start_makes_its_version_unavailable_and_says_why(
    workshop: Workshop, pool: FullEngines, refs: list[FullRef]
) -> None:
    workshop.failing["big@0"] = ConfigurationError("not enough memory")
    found = await asyncio.gather(*[use(pool, refs[0]) for _ in range(3)], return_exceptions=True)
    assert [type(error) for error in found] == [EngineUnavailableError] * 3
    assert str(found[0]) == "the engine of big@0 did not start: not enough memory"
    await use(pool, refs[1])


async def test_an_engine_that_died_is_started_again_and_no_other_notices(
    workshop: Workshop, pool: FullEngines, refs: list[FullRef]
) -> None:
    async with pool.lease("fake", refs[1]) as other:
        await use(pool, refs[0])
        await workshop.of("big@0").die()
        while len(workshop.made) < 3:
            await asyncio.sleep(0.01)
        assert (await other.health()).alive
        while workshop.running() != ["big@1", "big@0"]:
            await asyncio.sleep(0.01)
        assert await use(pool, refs[0]) is workshop.made[2]


async def test_stopping_ends_every_engine_also_those_that_start_or_give_way(
    workshop: Workshop, refs: list[FullRef]
) -> None:
    pool = FullEngines(workshop.make, most=2)
    await use(pool, refs[0])
    workshop.shut.add("big@1")
    workshop.of("big@0").may_stop.clear()
    asked = [asyncio.create_task(use(pool, ref)) for ref in refs[1:3]]  # one starts, one waits for big@0 to give way
    await asyncio.sleep(0.05)
    stopping = asyncio.create_task(pool.stop(grace_s=0.0))
    await asyncio.sleep(0.05)
    workshop.of("big@0").may_stop.set()
    await stopping
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(error) for error in found] == [EngineUnavailableError] * 2
    await asyncio.sleep(0.05)
    assert workshop.running() == []
    assert len(workshop.made) == 2


async def test_an_engine_starts_again_from_where_its_version_lies_now(
    workshop: Workshop, pool: FullEngines, refs: list[FullRef], tmp_path: Path
) -> None:
    """A version is proved in the folder that was imported, and then kept in one of its own."""
    trial = FullRef(version="import", path=refs[0].path, sha256=refs[0].sha256)
    kept = FullRef(version="big@0", path=write_model(tmp_path / "kept", seed=0), sha256=refs[0].sha256)
    await use(pool, trial)
    await use(pool, kept)
    await workshop.made[0].die()
    while len(workshop.made) < 2:
        await asyncio.sleep(0.01)
    assert workshop.made[1].weights.full == kept
