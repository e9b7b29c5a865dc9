import asyncio

import pytest

from rlt_core.errors import EngineUnavailableError
from rlt_service.engine.admission import Admission, result_of


def opened() -> Admission:
    admission = Admission()
    admission.open_up()
    return admission


async def answer(value: int) -> int:
    return value


async def never() -> None:
    await asyncio.Event().wait()


async def test_nothing_is_taken_before_the_engine_has_started() -> None:
    with pytest.raises(EngineUnavailableError, match="is starting"):
        Admission().submit(answer(1))


async def test_submitted_work_is_counted_until_it_is_done() -> None:
    admission = opened()
    task = admission.submit(answer(7))
    assert admission.in_flight == 1
    assert await result_of(task) == 7
    await asyncio.sleep(0)
    assert admission.in_flight == 0


async def test_draining_refuses_new_work_and_lets_the_old_finish() -> None:
    admission, gate = opened(), asyncio.Event()
    task = admission.submit(gate.wait())
    draining = asyncio.create_task(admission.drain(timeout_s=60.0))
    await asyncio.sleep(0)
    with pytest.raises(EngineUnavailableError, match="draining"):
        admission.submit(answer(1))
    gate.set()
    await draining
    assert await result_of(task)


async def test_draining_ends_what_does_not_finish_in_time_as_unavailable_not_as_cancelled() -> None:
    admission = opened()
    caller = asyncio.create_task(result_of(admission.submit(never())))
    await admission.drain(timeout_s=0.0)
    with pytest.raises(EngineUnavailableError, match="send it again"):
        await caller
    assert admission.in_flight == 0


async def test_cancelled_caller_ends_its_work_and_stays_cancelled() -> None:
    admission = opened()
    task = admission.submit(never())
    caller = asyncio.create_task(result_of(task))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert task.cancelled()
