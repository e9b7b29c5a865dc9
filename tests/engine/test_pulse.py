import asyncio

import pytest

from rlt_core.errors import EngineUnavailableError
from rlt_service.engine.pulse import Pulse


async def never() -> None:
    await asyncio.Event().wait()


async def at_once() -> str:
    return "here"


async def refuse() -> None:
    raise RuntimeError("broken inside")


async def until_fault(pulse: Pulse) -> str:
    pulse.start()
    while not pulse.fault:
        await asyncio.sleep(0.01)
    await pulse.stop()
    return pulse.fault


async def test_an_engine_that_answers_has_no_fault_however_often_it_is_asked() -> None:
    asked: list[int] = []

    async def answer() -> None:
        asked.append(1)

    pulse = Pulse(answer, patience_s=0.06)
    pulse.start()
    while len(asked) < 5:
        await asyncio.sleep(0.01)
    await pulse.stop()
    assert pulse.fault == ""


async def test_an_engine_that_gives_no_sign_of_life_counts_as_hung() -> None:
    assert "did not give a sign of life" in await until_fault(Pulse(never, patience_s=0.06))


async def test_an_engine_that_refuses_to_answer_counts_as_hung() -> None:
    assert "broken inside" in await until_fault(Pulse(refuse, patience_s=0.06))


async def test_a_call_that_outlasts_the_deadline_fails_and_shows_that_the_engine_hangs() -> None:
    pulse = Pulse(at_once, patience_s=0.05)
    with pytest.raises(EngineUnavailableError, match=r"unload algebra@1 within 0\.05 s"):
        await pulse.within("unload algebra@1", never())
    assert "unload algebra@1" in pulse.fault


async def test_a_call_in_time_gives_its_answer() -> None:
    pulse = Pulse(at_once, patience_s=5.0)
    assert await pulse.within("answer", at_once()) == "here"
    assert pulse.fault == ""
