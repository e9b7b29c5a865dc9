"""The drain: SIGTERM with 32 calls in flight loses none of them, and the server is gone in time (fake engine)."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from benchmarks.reliability.slow_service import slow_service
from benchmarks.reliability.trial import Trial
from tests.support.waiting import wait_until

ROW = "drain with 32 in flight"
AT_ONCE = 32
MOST_S = 35.0
BODY = {"question": "1+1?", "solution": "2", "include": ["score"]}


def trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Ask `count` servers to end while they answer."""
    for number in range(count):
        with slow_service(folder / f"drain-{number}", delay_s=1.0) as service, httpx.Client(timeout=60.0) as client:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                asked = [pool.submit(client.post, f"{service.address}/v1/explain", json=BODY) for _ in range(AT_ONCE)]
                wait_until(lambda: service.in_hand() >= AT_ONCE, what="all are at work")
                began_s = time.monotonic()
                service.process.terminate()
                lost = sum(answer.exception() is not None or answer.result().status_code != 200 for answer in asked)
            service.process.wait(timeout=2 * MOST_S)
            seconds = time.monotonic() - began_s
        yield Trial(
            row=ROW,
            number=number,
            seed=seed,
            fault="SIGTERM",
            passed=lost == 0 and seconds <= MOST_S,
            seconds=seconds,
            detail=f"{AT_ONCE - lost} of {AT_ONCE} answered",
            figures={"lost": float(lost), "exit_s": seconds},
        )
