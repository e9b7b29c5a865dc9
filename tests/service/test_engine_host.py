"""An engine's life in a serving process, where starts hang and stops fail."""

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from rlt_core.errors import EngineUnavailableError
from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from rlt_service.engine.protocol import Engine
from rlt_service.engine_host import EngineHost
from tests.support.control import check_problem
from tests.support.service import make_app, serving


class NeverStarted(FakeEngine):
    """Takes for ever to start."""

    async def start(self) -> None:
        await asyncio.Event().wait()


class Unstoppable(FakeEngine):
    """Fails to stop, once."""

    def __init__(self) -> None:
        super().__init__()
        self.stops = 0

    async def stop(self) -> None:
        self.stops += 1
        if self.stops == 1:
            raise RuntimeError("a process would not go")
        await super().stop()


def made_of(*engines: Engine) -> Callable[[], Engine]:
    return iter(engines).__next__


async def test_a_start_that_hangs_is_given_up_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlt_service.engine_host.START_TIMEOUT_S", 0.05)
    host = EngineHost(made_of(NeverStarted()))
    host.start()
    async with asyncio.timeout(5.0):
        await host.first_start()
    assert isinstance(host.failure, TimeoutError)
    with pytest.raises(EngineUnavailableError, match="did not start"):
        host.ready()
    await host.stop(grace_s=0.0)


class FailsToStart(FakeEngine):
    """Does not start."""

    async def start(self) -> None:
        raise MemoryError("no room at the moment")


async def test_an_engine_that_ran_is_started_again_as_often_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlt_service.engine_host.WATCH_S", 0.01)
    monkeypatch.setattr("rlt_service.engine_host.RESTART_AFTER_S", (0.01,))
    failures: list[Exception] = []
    first, last = FakeEngine(), FakeEngine()
    host = EngineHost(made_of(first, FailsToStart(), FailsToStart(), last), on_failure=failures.append)
    host.start()
    await host.first_start()
    await first.die()
    async with asyncio.timeout(5.0):
        while host.restarts < 3 or not (await host.check()).ok:
            await asyncio.sleep(0.01)
    assert host.ready() is last
    assert (failures, host.failure) == ([], None)  # a server that ends on these would take sound engines with it
    await host.stop(grace_s=0.0)


async def test_an_engine_that_ran_long_before_it_died_is_started_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlt_service.engine_host.WATCH_S", 0.01)
    monkeypatch.setattr("rlt_service.engine_host.RESTART_AFTER_S", (0.01, 60.0))
    monkeypatch.setattr("rlt_service.engine_host.LIVED_S", 0.05)
    engines = [FakeEngine() for _ in range(3)]
    host = EngineHost(made_of(*engines))
    host.start()
    await host.first_start()
    async with asyncio.timeout(20.0):
        for engine, following in pairwise(engines):
            began_s = time.monotonic()
            while time.monotonic() - began_s < 0.1:
                await asyncio.sleep(0.01)
            await engine.die()
            while not (await host.check()).ok or host.ready() is not following:
                await asyncio.sleep(0.01)
    assert host.restarts == 2
    await host.stop(grace_s=0.0)


async def test_an_engine_that_died_and_does_not_end_is_replaced_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlt_service.engine_host.WATCH_S", 0.01)
    monkeypatch.setattr("rlt_service.engine_host.RESTART_AFTER_S", (0.01,))
    first, second = Unstoppable(), FakeEngine()
    host = EngineHost(made_of(first, second))
    host.start()
    await host.first_start()
    await first.die()
    async with asyncio.timeout(5.0):
        while host.restarts == 0 or not (await host.check()).ok:
            await asyncio.sleep(0.01)
    assert host.ready() is second
    await host.stop(grace_s=0.0)
    await first.stop()


async def test_requests_in_an_engine_that_dies_are_503_within_5_s(tmp_path: Path) -> None:
    engine = FakeEngine(FakeOptions(delay_s=3600.0))
    async with serving(make_app(tmp_path, engine=engine)) as http:
        calls = [
            asyncio.create_task(http.post("/v1/explain", json={"question": "1+1?", "solution": "2"})) for _ in range(8)
        ]
        while (await engine.health()).in_flight < len(calls):
            await asyncio.sleep(0.01)
        try:
            async with asyncio.timeout(5.0):
                await engine.die()
                answers = await asyncio.gather(*calls)
        finally:
            for call in calls:
                call.cancel()
    for answer in answers:
        check_problem(answer, 503, "engine_unavailable")
        assert int(answer.headers["retry-after"]) >= 1
