"""What is slow holds nobody else up: a database or a disk that hangs, a body that does not come."""

import asyncio
import contextlib
import json
import threading
from collections.abc import Generator
from pathlib import Path

import anyio.to_thread
import pytest

from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from rlt_service.engine.protocol import EngineHealth, Weights
from rlt_service.health import ENGINE_S
from rlt_service.part_checks import PART_S, PartCheck
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.database import Database
from tests.support.listening import listening
from tests.support.service import make_app, serving

TINY = 0.2
LONG_S = 2.0
"""Of several deadlines of this length, one after the other would be told from all at once on a busy machine too."""
THREADS = 64
"""More than asyncio keeps by default on any machine."""


class Hanging:
    """A part that answers when it is released."""

    def __init__(self) -> None:
        self.asked = 0
        self.release = threading.Event()

    def check(self) -> None:
        self.asked += 1
        self.release.wait()


async def test_a_database_that_hangs_is_told_in_time_and_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlt_service.part_checks.PART_S", TINY)
    database = Hanging()
    check = PartCheck("the database", database.check)
    try:
        async with asyncio.timeout(10.0):
            found = await asyncio.gather(*[check.ask() for _ in range(20)])
    finally:
        database.release.set()
    assert {(one.ok, one.detail) for one in found} == {(False, "the database did not answer within 0.2 s")}
    assert database.asked == 1
    while not (await check.ask()).ok:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("part", "name"), [("database", "the database"), ("artifacts", "the artifacts' disk")], ids=["database", "disk"]
)
async def test_readyz_says_in_time_which_part_hangs_and_healthz_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, name: str
) -> None:
    hanging = Hanging()
    hanging.release.set()
    asked_of: type = {"database": Database, "artifacts": ArtifactStore}[part]
    monkeypatch.setattr(asked_of, "check", lambda _: hanging.check())
    async with serving(make_app(tmp_path)) as http:
        monkeypatch.setattr("rlt_service.part_checks.PART_S", TINY)
        hanging.release.clear()
        hanging.asked = 0
        try:
            async with asyncio.timeout(10.0):
                answers = await asyncio.gather(*[http.get("/readyz") for _ in range(20)])
                assert (await http.get("/healthz")).status_code == 200
        finally:
            hanging.release.set()
    found = {answer.status_code: answer.json()["checks"] for answer in answers}
    assert found.keys() == {503}
    assert {each: check["ok"] for each, check in found[503].items() if each in ("database", "artifacts")} == {
        "database": part != "database",
        "artifacts": part != "artifacts",
    }
    assert found[503][part]["detail"] == f"{name} did not answer within 0.2 s"
    assert hanging.asked == 1


class SilentHealth(FakeEngine):
    """Works, and does not say how it is once that is asked of it."""

    silent = False

    async def health(self) -> EngineHealth:
        if self.silent:
            await asyncio.Event().wait()
        return await super().health()


async def test_an_engine_that_does_not_say_how_it_is_counts_as_unready_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = SilentHealth()
    async with serving(make_app(tmp_path, engine=engine)) as http:
        monkeypatch.setattr("rlt_service.health.ENGINE_S", TINY)
        engine.silent = True
        async with asyncio.timeout(10.0):
            answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["engine"] == {
        "ok": False,
        "detail": "the engine did not say within 0.2 s how it is",
    }


async def test_all_that_hangs_together_is_told_in_the_time_of_one_and_healthz_needs_none_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, engines = Hanging(), list[SilentHealth]()
    hanging.release.set()

    def make_engine(weights: Weights) -> SilentHealth:
        engines.append(SilentHealth(FakeOptions(weights=weights)))
        return engines[-1]

    for part in (Database, ArtifactStore):
        monkeypatch.setattr(part, "check", lambda _: hanging.check())
    async with serving(make_app(tmp_path, make_engine=make_engine, student_model="/models/other")) as http:
        monkeypatch.setattr("rlt_service.part_checks.PART_S", LONG_S)
        monkeypatch.setattr("rlt_service.health.ENGINE_S", LONG_S)
        hanging.release.clear()
        hanging.asked = 0
        for engine in engines:
            engine.silent = True
        try:
            # The parts and two engines: one after the other would take three times as long.
            async with asyncio.timeout(2.5 * LONG_S):
                asking = asyncio.create_task(http.get("/readyz"))
                while hanging.asked < 2:
                    await asyncio.sleep(0.01)
                with no_thread_free(hanging.release):
                    assert (await http.get("/healthz")).status_code == 200
                answer = await asking
        finally:
            hanging.release.set()
    assert answer.status_code == 503
    assert {name: check["ok"] for name, check in answer.json()["checks"].items() if name != "broker"} == {
        "database": False,
        "artifacts": False,
        "engine": False,
        "engine /models/other": False,
    }


@contextlib.contextmanager
def no_thread_free(release: threading.Event) -> Generator[None]:
    """Take every thread of the loop and every token of the framework; the threads end with `release`."""
    waiting = [asyncio.create_task(asyncio.to_thread(release.wait)) for _ in range(THREADS)]
    limiter = anyio.to_thread.current_default_thread_limiter()
    borrowers = [object() for _ in range(int(limiter.available_tokens))]
    for borrower in borrowers:
        limiter.acquire_on_behalf_of_nowait(borrower)
    try:
        yield
    finally:
        for borrower in borrowers:
            limiter.release_on_behalf_of(borrower)
        assert not any(task.done() for task in waiting)


def test_a_part_that_hangs_is_told_within_two_seconds() -> None:
    assert max(PART_S, ENGINE_S) < 2.0


async def test_a_body_that_does_not_come_is_a_408_and_the_connection_ends(tmp_path: Path) -> None:
    async with listening(make_app(tmp_path, max_body_s=TINY)) as port, asyncio.timeout(20.0):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = "POST /v1/explain HTTP/1.1\r\nHost: rlt.test\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: 1000\r\n\r\n{{".encode())
        answer = await reader.read()  # to the connection's end
        writer.close()
    first, _, body = answer.partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 408 ")
    assert b"connection: close" in first.lower()
    problem = json.loads(body)
    assert (problem["code"], problem["retryable"]) == ("body_timeout", True)
    assert "1 bytes of the body came within 0.2 s" in problem["detail"]
