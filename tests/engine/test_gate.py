"""Waiting for a turn: who waits may leave, and what belongs to one call is one flow."""

import asyncio
import weakref

import pytest

from rlt_service.engine.fair_queue import Flow
from rlt_service.engine.gate import Flows, Gate, current_flow, one_flow


class Worker:
    """Holds a turn until it is told to end."""

    def __init__(self, gate: Gate, flow: Flow) -> None:
        self.began = asyncio.Event()
        self.end = asyncio.Event()
        self.task = asyncio.create_task(self._work(gate, flow))

    async def _work(self, gate: Gate, flow: Flow) -> None:
        async with gate.turn(flow):
            self.began.set()
            await self.end.wait()

    async def finish(self) -> None:
        self.end.set()
        await self.task


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_work_waits_for_room_and_begins_when_it_comes_free() -> None:
    gate = Gate(capacity=1, reserve=0, beside=1)
    first, second = Worker(gate, Flow()), Worker(gate, Flow())
    await settle()
    assert (first.began.is_set(), second.began.is_set()) == (True, False)
    await first.finish()
    await second.finish()


async def test_who_is_cancelled_in_the_line_leaves_it() -> None:
    gate = Gate(capacity=1, reserve=0, beside=1)
    first, second, third = (Worker(gate, Flow()) for _ in range(3))
    await settle()
    second.task.cancel()
    await settle()
    await first.finish()
    await settle()
    assert (second.began.is_set(), third.began.is_set()) == (False, True)
    await third.finish()


async def test_who_is_cancelled_in_the_moment_of_its_turn_gives_the_room_back() -> None:
    gate = Gate(capacity=1, reserve=0, beside=1)
    first, second, third = (Worker(gate, Flow()) for _ in range(3))
    await settle()
    first.end.set()
    await asyncio.sleep(0)  # first is done and has let second in, which has not run yet
    second.task.cancel()
    await settle()
    assert (second.began.is_set(), third.began.is_set()) == (False, True)
    await third.finish()


async def test_work_that_fails_gives_its_room_back() -> None:
    gate = Gate(capacity=1, reserve=0, beside=1)
    with pytest.raises(ValueError, match="broken"):
        async with gate.turn(Flow()):
            raise ValueError("broken")
    worker = Worker(gate, Flow())
    await asyncio.wait_for(worker.began.wait(), timeout=5)
    await worker.finish()


async def test_a_bulk_caller_keeps_to_its_share_for_a_while_after_a_call_beside_it() -> None:
    gate = Gate(capacity=8, reserve=2, beside=2)
    bulk = Flow()
    workers = [Worker(gate, bulk) for _ in range(20)]
    await settle()
    assert sum(worker.began.is_set() for worker in workers) == 6
    single = Worker(gate, Flow())
    await settle()
    assert single.began.is_set()
    await single.finish()
    for worker in workers[:6]:
        await worker.finish()
    await settle()
    assert sum(worker.began.is_set() for worker in workers[6:]) == 2
    for worker in workers[6:]:
        worker.task.cancel()


async def test_all_that_a_call_begins_is_one_flow_and_two_calls_are_two() -> None:
    async def call() -> list[Flow]:
        with one_flow():
            return list(await asyncio.gather(*[ask() for _ in range(3)], asyncio.to_thread(current_flow)))

    async def ask() -> Flow:
        await asyncio.sleep(0)
        return current_flow()

    first, second = await asyncio.gather(call(), call())
    assert len(set(first)) == len(set(second)) == 1
    assert first[0] is not second[0]


def test_what_belongs_to_no_call_is_a_flow_of_its_own() -> None:
    assert current_flow() is not current_flow()


def test_calls_that_name_one_flow_are_one_as_long_as_one_of_them_runs() -> None:
    flows = Flows()
    mine = flows.named("job", owner="key_1")
    assert flows.named("job", owner="key_1") is mine
    assert flows.named("job", owner="key_2") is not mine
    assert flows.named("other", owner="key_1") is not mine
    with one_flow(mine):
        assert current_flow() is mine
    seen = weakref.ref(mine)
    del mine
    assert seen() is None
