"""Run the server as a process on a fake engine that takes its time."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.server import free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowService:
    """One server that is ready."""

    address: str
    process: subprocess.Popen[bytes]

    def in_hand(self) -> float:
        """Engine requests that it has in hand."""
        lines = httpx.get(f"{self.address}/metrics", timeout=10.0).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("rlt_requests_in_hand "))


@contextlib.contextmanager
def slow_service(home: Path, *, delay_s: float, **environment: str) -> Generator[SlowService]:
    """Start it with its state under `home`, give it when it is ready, end it with the block."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.slow_server", str(home), str(port), str(delay_s), "30"],
        env={**os.environ, "RLT_BROKER_URL": "memory://", **environment},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    service = SlowService(address=f"http://127.0.0.1:{port}", process=process)
    try:
        wait_until(lambda: _is_ready(service), what="the server is ready", timeout_s=60.0)
        yield service
    finally:
        process.kill()
        process.wait()


def _is_ready(service: SlowService) -> bool:
    try:
        return httpx.get(f"{service.address}/readyz", timeout=5.0).status_code == 200
    except httpx.HTTPError:
        return False
