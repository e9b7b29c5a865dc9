"""Ask a server to end while it answers."""

import subprocess
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

from tests.support.waiting import wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """What the calls in flight were answered, and when the server was asked to end, by the monotonic clock."""

    answers: list[httpx.Response]
    asked_s: float


def ask_and_end(
    address: str, process: subprocess.Popen[bytes], *, calls: int, body: Mapping[str, Any], timeout_s: float = 60.0
) -> Drained:
    """Send as many calls at once, ask the server to end while all are at work, and give their answers."""
    with httpx.Client(timeout=timeout_s) as client, ThreadPoolExecutor(calls) as pool:
        answers = [pool.submit(client.post, f"{address}/v1/explain", json=body) for _ in range(calls)]
        wait_until(lambda: in_hand(address) >= calls, what="all are at work")
        asked_s = time.monotonic()
        process.terminate()
        return Drained(answers=[answer.result() for answer in answers], asked_s=asked_s)


def in_hand(address: str) -> float:
    """Engine requests that a server has in hand."""
    lines = httpx.get(f"{address}/metrics", timeout=5.0).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("rlt_requests_in_hand "))
