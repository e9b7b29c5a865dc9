"""SIGTERM while vLLM works: what was accepted is answered, in time or with a clean 503, and no process stays."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.support.control import check_problem
from tests.support.draining import ask_and_end
from tests.support.server import free_port
from tests.support.waiting import SELDOM_S, wait_until

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

AT_ONCE = 8
EXIT_S = 35.0
GONE_S = 10.0
"""Longest time of an engine's processes after their server's grace."""
SHORT_GRACE_S = 1.0
ENDED = (0, -signal.SIGTERM)
"""uvicorn raises the signal again when it is done."""
BODY: dict[str, Any] = {"question": "What is 17 + 25?", "solution": "42", "temperature": 1.0, "seed": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One server that is ready, and its engine's core and worker."""

    address: str
    process: subprocess.Popen[bytes]
    engine: list[psutil.Process]

    def left(self) -> list[int]:
        """Give the engine's processes that live."""
        return [process.pid for process in self.engine if lives(process)]


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def engine_of(server: subprocess.Popen[bytes]) -> list[psutil.Process]:
    below = psutil.Process(server.pid).children(recursive=True)
    return [process for process in below if "".join(process.cmdline()[:1]).startswith("VLLM::")]


@contextlib.contextmanager
def serving_vllm(home: Path, *, grace_s: float) -> Generator[Server]:
    """Start the server alone on vLLM, give it when it is ready."""
    port = free_port()
    with (home.parent / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "rlt_service", "--home", str(home), "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "RLT_BROKER_URL": "memory://",
                "RLT_DRAIN_GRACE_S": str(grace_s),
                "RLT_MAX_LORAS": "1",
                "RLT_KV_CACHE_GIB": "0.25",
            },
        )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: is_ready(address, process), what="the server is ready", timeout_s=180.0, every_s=SELDOM_S)
        yield Server(address=address, process=process, engine=engine_of(process))
    finally:
        process.kill()
        process.wait()


def is_ready(address: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, f"the server ended with {process.returncode}"
    try:
        return httpx.get(f"{address}/readyz", timeout=5.0).status_code == 200
    except httpx.HTTPError:
        return False


def test_what_vllm_works_on_is_answered_before_the_server_ends(real_home: Path, warm_caches: None) -> None:
    # Two pieces of work, one after the other: a drain must not come between them.
    body = BODY | {"max_tokens": 48, "include": ["score"]}
    with serving_vllm(real_home, grace_s=30.0) as server:
        assert len(server.engine) == 2
        drained = ask_and_end(server.address, server.process, calls=AT_ONCE, body=body)
        assert [answer.status_code for answer in drained.answers] == [200] * AT_ONCE
        assert all(answer.json()["score"] for answer in drained.answers)
        assert server.process.wait(timeout=2 * EXIT_S) in ENDED
        assert time.monotonic() - drained.asked_s <= EXIT_S
        assert server.left() == []


def test_what_vllm_has_not_done_within_the_grace_gets_a_clean_503_and_its_processes_end(
    real_home: Path, warm_caches: None
) -> None:
    body = BODY | {"max_tokens": 1500}
    with serving_vllm(real_home, grace_s=SHORT_GRACE_S) as server:
        assert len(server.engine) == 2
        drained = ask_and_end(server.address, server.process, calls=AT_ONCE, body=body)
        for answer in drained.answers:
            check_problem(answer, 503, "engine_unavailable")
            assert "retry-after" in answer.headers
        wait_until(lambda: server.left() == [], what="core and worker have ended")
        assert time.monotonic() - drained.asked_s <= SHORT_GRACE_S + GONE_S
        assert server.process.wait(timeout=EXIT_S) in ENDED
