"""The real engine's processes: hanging, dying, and leaving nothing behind."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psutil
import pytest

from rlt_core.errors import EngineUnavailableError, InvalidAdapterError
from rlt_service.engine.factory import create_engine
from rlt_service.engine.protocol import Engine, GenerateRequest, SequenceScoreRequest
from rlt_service.engine_host import EngineHost
from rlt_service.settings import Settings
from tests.engine.adapter_files import write_adapter
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

REQUEST = SequenceScoreRequest(token_ids=(50, 51, 52, 53), start=1, temperature=0.7, adapter=None)
ENDLESS = GenerateRequest(
    prompt_token_ids=(50, 51, 52),
    adapter=None,
    n=2,
    temperature=0.0,
    top_p=1.0,
    max_tokens=900,
    seed=None,
    stop_text="<|end_of_explanation|>",
)
OWNERS = """
import asyncio, os, sys
from pathlib import Path
from rlt_service.engine.factory import create_engine
from rlt_service.settings import Settings

async def own(engine):
    await engine.start()
    print("started", flush=True)
    await asyncio.Event().wait()

if __name__ == "__main__":
    engine = create_engine(Settings(home=Path(sys.argv[1]), dtype="float32", max_loras=1, kv_cache_gib=0.25))
    for _ in sys.stdin:
        owner = os.fork()
        if owner == 0:
            asyncio.run(own(engine))
        print(owner, flush=True)
        os.waitpid(owner, 0)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """A process that has imported vLLM, which takes seconds, and splits off owners of an engine, one at a time."""

    process: subprocess.Popen[str]

    @contextlib.contextmanager
    def one(self) -> Generator[int]:
        """Begin to start an engine in a process of its own, give that one's id, kill it with the block."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        pid = int(self.line())
        try:
            yield pid
        finally:
            with contextlib.suppress(ProcessLookupError):  # it failed, and its message is above
                os.kill(pid, signal.SIGKILL)

    def line(self) -> str:
        """Read what the newest owner says next."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@pytest.fixture(scope="module")
def owners(rlt_home_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owners]:
    script = tmp_path_factory.mktemp("owners") / "owners.py"
    script.write_text(OWNERS, encoding="utf-8")
    command = [sys.executable, str(script), str(rlt_home_models)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Owners(process=process)


async def test_engine_that_is_stopped_while_it_starts_leaves_nothing(rlt_home_models: Path) -> None:
    mine = set(_children())
    settings = Settings(home=rlt_home_models, dtype="float32", max_loras=1, kv_cache_gib=0.25)
    host = EngineHost(partial(create_engine, settings))
    host.start()
    while not set(_children()) - mine:
        await asyncio.sleep(0.05)
    asked_s = time.monotonic()
    await host.stop(grace_s=0.0)
    assert time.monotonic() - asked_s < 10.0
    # What was seen first may be Python's tidier, which has its own command only once it runs.
    assert set(_children()) == mine


def _children() -> list[psutil.Process]:
    """List every process below this one, but for the one that Python keeps to tidy up shared memory."""
    below = psutil.Process().children(recursive=True)
    return [process for process in below if _runs(process) and "resource_tracker" not in _command(process)]


async def test_engine_that_hangs_is_replaced_and_one_whose_worker_was_killed_says_so_and_both_leave_nothing(
    rlt_home_models: Path, tmp_path: Path
) -> None:
    mine = set(_engine_processes(os.getpid()))
    settings = Settings(
        home=rlt_home_models,
        dtype="float32",
        max_loras=1,
        max_loaded_adapters=1,
        kv_cache_gib=0.25,
        engine_patience_s=12.0,
    )
    host = EngineHost(partial(create_engine, settings))
    host.start()
    await host.first_start()
    try:
        await _check_adapters_come_and_go(host.ready(), tmp_path)
        processes = set(_engine_processes(os.getpid())) - mine
        endless = asyncio.create_task(host.ready().generate(ENDLESS))
        while (await host.ready().health()).in_flight < 2:
            await asyncio.sleep(0)
        max(processes, key=lambda process: len(process.parents())).suspend()

        suspended_s = time.monotonic()
        with pytest.raises(EngineUnavailableError):
            await endless
        assert time.monotonic() - suspended_s < 2 * settings.engine_patience_s
        assert "does not answer" in (await host.check()).detail
        while not (await host.check()).ok:
            await asyncio.sleep(0.1)
        assert await host.ready().score([REQUEST])
        assert not [process for process in processes if process.is_running()]
        await _check_killed_worker(host.ready(), set(_engine_processes(os.getpid())) - mine)
    finally:
        await host.stop(grace_s=0.0)
    assert set(_engine_processes(os.getpid())) == mine


async def _check_killed_worker(engine: Engine, processes: set[psutil.Process]) -> None:
    """See an engine whose worker is killed fail what it works on, say that it is dead, and end without a trace."""
    assert len(processes) == 2
    endless = asyncio.create_task(engine.generate(ENDLESS))
    while (await engine.health()).in_flight < 2:
        await asyncio.sleep(0)
    worker = max(processes, key=lambda process: len(process.parents()))
    worker.kill()
    with pytest.raises(EngineUnavailableError):
        await endless
    health = await engine.health()
    assert (health.alive, health.in_flight) == (False, 0)
    with pytest.raises(EngineUnavailableError):
        await engine.score([REQUEST])

    await engine.stop()
    await engine.stop()
    assert not [process for process in processes if process.is_running()]
    with pytest.raises(EngineUnavailableError):
        await engine.score([REQUEST])


async def _check_adapters_come_and_go(engine: Engine, folder: Path) -> None:
    """See a loaded adapter serve without its files, give way to one more, and be refused when it would come back."""
    first, second = (write_adapter(folder / str(n), version=f"coming@{n}", seed=n) for n in (1, 2))
    asked = [replace(REQUEST, adapter=adapter) for adapter in (first, second)]
    (by_first,) = await engine.score(asked[:1])
    shutil.rmtree(first.path)
    assert (await engine.score(asked[:1]))[0].logprobs == pytest.approx(by_first.logprobs, abs=1e-4)
    (by_second,) = await engine.score(asked[1:])
    assert by_second.logprobs != pytest.approx(by_first.logprobs, abs=1e-3)
    assert (await engine.health()).loaded_versions == ("coming@2",)
    with pytest.raises(InvalidAdapterError, match="coming@1"):
        await engine.score(asked[:1])
    assert await engine.score(asked[1:])


def test_engine_ends_when_its_owner_was_killed(owners: Owners) -> None:
    with owners.one() as owner:
        assert owners.line() == "started\n"
        processes = _engine_processes(owner)
        assert len(processes) == 2
    wait_until(lambda: not any(_runs(process) for process in processes), what="core and worker have ended")


@pytest.mark.parametrize("after_s", [0.05, 2.0, 5.0, 14.0])
def test_nothing_is_left_of_an_engine_whose_owner_was_killed_while_it_started(owners: Owners, after_s: float) -> None:
    below: list[psutil.Process] = []
    with owners.one() as owner:
        wait_until(lambda: bool(_cores(owner)), what="the core begins", timeout_s=120.0)
        begun_s = time.monotonic()
        wait_until(lambda: time.monotonic() > begun_s + after_s, what="the moment has come")
        below = psutil.Process(owner).children(recursive=True)
    assert below
    wait_until(lambda: not any(_runs(process) for process in below), what="all have ended", timeout_s=10.0)


def _cores(owner_pid: int) -> list[psutil.Process]:
    """List the core below the owner from its first moment on: not the helpers that imports start for a moment."""
    below = psutil.Process(owner_pid).children()
    return [process for process in below if "spawn_main" in _command(process) or "VLLM::" in _command(process)]


def _engine_processes(owner_pid: int) -> list[psutil.Process]:
    """List the core and the worker below the owner: those that vLLM named so."""
    below = psutil.Process(owner_pid).children(recursive=True)
    return [process for process in below if _command(process).startswith("VLLM::")]


def _command(process: psutil.Process) -> str:
    """Give the words of a process, none where it has ended meanwhile."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
