"""Which adapters are in a vLLM engine, on a worker that only writes down what it is told."""

import asyncio
import shutil
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rlt_core.errors import EngineUnavailableError, InvalidAdapterError
from rlt_service.engine.adapters import AdapterRules
from rlt_service.engine.protocol import AdapterRef
from rlt_service.engine.pulse import Pulse
from tests.engine.adapter_files import write_adapter

if TYPE_CHECKING:  # vLLM takes seconds to import: whoever collects tests need not wait for it
    from vllm.lora.request import LoRARequest

    from rlt_service.engine.vllm_adapters import VllmAdapters


class Worker:
    """Loads and forgets at once, or after `answering` is set."""

    def __init__(self) -> None:
        self.errored = False
        self.loaded: dict[int, str] = {}
        self.ids: list[int] = []
        self.most = 0
        self.answering = asyncio.Event()
        self.answering.set()
        self.refusing = ""

    async def add_lora(self, lora_request: "LoRARequest") -> bool:
        await self.answering.wait()
        if self.refusing:
            raise RuntimeError(self.refusing)
        self.loaded[lora_request.lora_int_id] = lora_request.lora_name
        self.ids.append(lora_request.lora_int_id)
        self.most = max(self.most, len(self.loaded))
        return True

    async def remove_lora(self, lora_id: int) -> bool:
        await self.answering.wait()
        del self.loaded[lora_id]
        return True

    async def answer(self) -> None:
        await self.answering.wait()


@pytest.fixture
def worker() -> Worker:
    return Worker()


def make(worker: Worker, *, most: int = 2, deadline_s: float = 30.0, patience_s: float = 30.0) -> "VllmAdapters":
    from rlt_service.engine.vllm_adapters import VllmAdapters

    return VllmAdapters(
        worker,
        rules=AdapterRules(max_rank=8, base_name=None),
        most=most,
        pulse=Pulse(worker.answer, patience_s=deadline_s),
        patience_s=patience_s,
    )


@pytest.fixture
def refs(tmp_path: Path) -> list[AdapterRef]:
    return [write_adapter(tmp_path / str(n), version=f"a@{n}", layers=1, seed=n) for n in range(4)]


async def use(adapters: "VllmAdapters", ref: AdapterRef) -> int:
    """Hold a version for a moment and give the id that it has."""
    async with adapters.held(ref) as request:
        assert request is not None
        assert request.lora_name == ref.version
        return request.lora_int_id


async def until(adapters: "VllmAdapters", *versions: str) -> None:
    while sorted(adapters.versions) != sorted(versions):
        await asyncio.sleep(0.01)


async def test_the_base_needs_no_adapter(worker: Worker) -> None:
    async with make(worker).held(None) as request:
        assert request is None


async def test_beyond_the_bound_the_version_that_was_idle_longest_gives_way(
    worker: Worker, refs: list[AdapterRef]
) -> None:
    adapters = make(worker)
    for index in (0, 1, 0, 2):
        await use(adapters, refs[index])
    assert sorted(worker.loaded.values()) == ["a@0", "a@2"]
    assert worker.most == 2


async def test_a_version_that_comes_back_gets_an_id_that_was_never_used(worker: Worker, refs: list[AdapterRef]) -> None:
    adapters = make(worker, most=1)
    for index in (0, 1, 0):
        await use(adapters, refs[index])
    assert worker.ids == [1, 2, 3]


async def test_a_version_in_use_never_gives_way(worker: Worker, refs: list[AdapterRef]) -> None:
    adapters = make(worker)
    async with adapters.held(refs[0]):
        for ref in refs[1:]:
            await use(adapters, ref)
        assert "a@0" in worker.loaded.values()
    assert worker.ids == [1, 2, 3, 4]


async def test_where_all_are_in_use_a_request_waits_until_one_is_let_go(worker: Worker, refs: list[AdapterRef]) -> None:
    adapters = make(worker)
    async with AsyncExitStack() as stack, adapters.held(refs[1]):
        await stack.enter_async_context(adapters.held(refs[0]))
        waiting = asyncio.create_task(use(adapters, refs[2]))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await stack.aclose()
        assert await waiting == 3
        assert sorted(worker.loaded.values()) == ["a@1", "a@2"]


async def test_where_nothing_is_let_go_in_time_callers_are_told_to_come_back(
    worker: Worker, refs: list[AdapterRef]
) -> None:
    adapters = make(worker, most=1, patience_s=0.05)
    async with adapters.held(refs[0]):
        with pytest.raises(EngineUnavailableError, match="RLT_MAX_LOADED_ADAPTERS") as refused:
            await use(adapters, refs[1])
        assert refused.value.retry_after_s
        assert await use(adapters, refs[0]) == 1
    assert await use(adapters, refs[1]) == 2


async def test_first_requests_that_come_together_load_once(worker: Worker, refs: list[AdapterRef]) -> None:
    adapters = make(worker)
    assert await asyncio.gather(*[use(adapters, refs[0]) for _ in range(5)]) == [1] * 5
    assert worker.ids == [1]


async def test_loaded_version_serves_without_its_files_and_is_refused_once_it_was_unloaded(
    worker: Worker, refs: list[AdapterRef]
) -> None:
    adapters = make(worker, most=1)
    await use(adapters, refs[0])
    shutil.rmtree(refs[0].path)
    assert await use(adapters, refs[0]) == 1
    await use(adapters, refs[1])
    with pytest.raises(InvalidAdapterError, match="a@0"):
        await use(adapters, refs[0])
    assert await use(adapters, refs[1]) == 2


async def test_a_version_whose_hash_changed_is_refused_even_after_it_was_unloaded(
    worker: Worker, refs: list[AdapterRef], tmp_path: Path
) -> None:
    adapters = make(worker, most=1)
    await use(adapters, refs[0])
    other = write_adapter(tmp_path / "other", version="a@0", layers=1, seed=99)
    for _ in range(2):
        with pytest.raises(InvalidAdapterError, match="never changes"):
            await use(adapters, other)
        await use(adapters, refs[1])


async def test_a_caller_that_goes_away_while_loading_leaves_the_count_right(
    worker: Worker, refs: list[AdapterRef]
) -> None:
    adapters = make(worker, most=1)
    worker.answering.clear()
    gone = asyncio.create_task(use(adapters, refs[0]))
    await asyncio.sleep(0.05)
    gone.cancel()
    await asyncio.wait([gone])
    worker.answering.set()
    await until(adapters, "a@0")
    await use(adapters, refs[1])
    assert worker.loaded == {2: "a@1"}
    assert worker.most == 1


async def test_what_vllm_refuses_is_refused_and_takes_no_room(worker: Worker, refs: list[AdapterRef]) -> None:
    adapters = make(worker, most=1)
    worker.refusing = "shapes do not match"
    with pytest.raises(InvalidAdapterError, match=r"a@0.*shapes do not match"):
        await use(adapters, refs[0])
    worker.refusing = ""
    assert await use(adapters, refs[1]) == 2


async def test_a_load_that_fails_with_the_engine_is_no_fault_of_the_adapter(
    worker: Worker, refs: list[AdapterRef]
) -> None:
    worker.refusing, worker.errored = "gone", True
    with pytest.raises(EngineUnavailableError):
        await use(make(worker), refs[0])


async def test_unloading_has_a_deadline_and_then_the_engine_counts_as_hung(
    worker: Worker, refs: list[AdapterRef]
) -> None:
    pulse = Pulse(worker.answer, patience_s=0.1)
    from rlt_service.engine.vllm_adapters import VllmAdapters

    adapters = VllmAdapters(
        worker, rules=AdapterRules(max_rank=8, base_name=None), most=1, pulse=pulse, patience_s=30.0
    )
    await use(adapters, refs[0])
    worker.answering.clear()
    with pytest.raises(EngineUnavailableError, match="unload a@0"):
        await use(adapters, refs[1])
    assert "unload a@0" in pulse.fault


async def test_a_version_that_did_not_prove_itself_is_forgotten_unless_it_is_in_use(
    worker: Worker, refs: list[AdapterRef]
) -> None:
    adapters = make(worker)
    async with adapters.held(refs[0]):
        await adapters.forget(refs[0])
        assert adapters.versions == ("a@0",)
    await adapters.forget(refs[0])
    assert adapters.versions == ()
    assert worker.loaded == {}


async def test_an_engine_that_stops_ends_the_loads_under_way(worker: Worker, refs: list[AdapterRef]) -> None:
    adapters = make(worker)
    worker.answering.clear()
    loading = asyncio.create_task(use(adapters, refs[0]))
    await asyncio.sleep(0.05)
    await adapters.stop()
    with pytest.raises(EngineUnavailableError, match="stopped while it loaded a@0"):
        await loading


async def test_a_caller_that_gives_up_is_cancelled_and_the_load_goes_on(worker: Worker, refs: list[AdapterRef]) -> None:
    adapters = make(worker)
    worker.answering.clear()
    loading = asyncio.create_task(use(adapters, refs[0]))
    await asyncio.sleep(0.05)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    worker.answering.set()
    await use(adapters, refs[0])
    assert adapters.versions == ("a@0",)
