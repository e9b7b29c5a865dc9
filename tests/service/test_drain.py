"""A server that is asked to end while it answers: what it accepted is answered, in time or with a clean 503."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.control import check_problem
from tests.support.draining import ask_and_end
from tests.support.server import free_port
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

AT_ONCE = 32
ENDED = (0, -signal.SIGTERM)
"""uvicorn raises the signal again when it is done."""
BODY = {"question": "1+1?", "solution": "2", "include": ["score"]}
"""Two pieces of work for the engines, one after the other: a drain must not come between them."""

Start = Callable[..., AbstractContextManager[tuple[str, subprocess.Popen[bytes]]]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    @contextmanager
    def slow_server(*, delay_s: float, grace_s: float) -> Any:
        port = free_port()
        words = [str(tmp_path / "home"), str(port), str(delay_s), str(grace_s)]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.slow_server", *words],
            env={**os.environ, "RLT_BROKER_URL": "memory://"},
            cwd=Path(__file__).parents[2],
        )
        address = f"http://127.0.0.1:{port}"
        try:
            wait_until(lambda: _ready(address), what="the server is ready", timeout_s=60.0)
            yield address, process
        finally:
            process.kill()
            process.wait()

    return slow_server


def _ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz", timeout=5.0).status_code == 200
    except httpx.HTTPError:
        return False


def test_what_was_accepted_is_answered_before_the_server_ends(start: Start) -> None:
    with start(delay_s=1.0, grace_s=30.0) as (address, process):
        answers = ask_and_end(address, process, calls=AT_ONCE, body=BODY).answers
        assert [answer.status_code for answer in answers] == [200] * AT_ONCE
        assert all(answer.json()["score"] for answer in answers)
        assert process.wait(timeout=30.0) in ENDED


def test_what_takes_longer_than_the_grace_gets_a_clean_503(start: Start) -> None:
    with start(delay_s=60.0, grace_s=1.0) as (address, process):
        for answer in ask_and_end(address, process, calls=AT_ONCE, body=BODY).answers:
            check_problem(answer, 503, "engine_unavailable")
            assert "retry-after" in answer.headers
        assert process.wait(timeout=30.0) in ENDED
