"""The overload: 512 calls and 4 batches of 256 at once lose nothing, and /healthz answers meanwhile (fake engine)."""

import asyncio
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.reliability.crowd import Crowd, crowd
from benchmarks.reliability.slow_service import SlowService, slow_service
from benchmarks.reliability.trial import Trial

ROW = "overload: 512 calls and a rollout of 1,024 at once"
CALLS = 512
BATCHES, ITEMS = 4, 256
ALLOWED = {200, 429, 503}
HEALTH_S = 1.0
"""Of /healthz at p99 in the burst: 1,536 items are read, judged and answered in the loop that answers it too."""
GROWTH = 1.1
ROUNDS = 2
"""The first warms the server up: its memory afterwards is what the second has to come back to."""


def trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Overload `count` servers."""
    for number in range(count):
        with slow_service(folder / f"overload-{number}", delay_s=0.2, RLT_MAX_QUEUED_REQUESTS="400") as service:
            memory, statuses, health, seconds = list[int](), Counter[int](), list[float](), 0.0
            for turn in range(ROUNDS):
                began_s = time.monotonic()
                found, times = measured(service, chance=random.Random(seed + number + 1000 * turn))
                seconds = time.monotonic() - began_s
                statuses.update(found)
                health += times
                memory.append(psutil.Process(service.process.pid).memory_info().rss)
        p99 = sorted(health)[int(len(health) * 0.99)] if health else float("inf")
        answered = sum(statuses.values())
        yield Trial(
            row=ROW,
            number=number,
            seed=seed + number,
            fault="overload",
            passed=(
                set(statuses) <= ALLOWED
                and answered == ROUNDS * (CALLS + BATCHES * ITEMS)
                and p99 < HEALTH_S
                and memory[-1] <= GROWTH * memory[0]
            ),
            seconds=seconds,
            detail=", ".join(f"{status}: {times}" for status, times in sorted(statuses.items())),
            figures={"healthz_p99_s": p99, "answered": float(answered), "memory_growth": memory[-1] / memory[0]},
        )


def measured(service: SlowService, *, chance: random.Random) -> tuple[Counter[int], list[float]]:
    """Overload a server; give how many answers had each status, and how long /healthz took meanwhile, each time.

    A process of its own asks for that: the one that sends all the rest is too busy to take the time.
    """
    context = multiprocessing.get_context("spawn")
    ended = context.Event()
    receiving, sending = context.Pipe(duplex=False)
    prober = context.Process(target=probe, args=(service.address, ended, sending))
    prober.start()
    receiving.recv()
    try:
        statuses = asyncio.run(overload(service.address, chance=chance))
    finally:
        ended.set()
    health = receiving.recv()
    prober.join()
    return statuses, health


def probe(address: str, ended: Event, found: Connection) -> None:
    """Ask /healthz until the end; send once that it begins, then the seconds of each answer."""
    health: list[float] = []
    with httpx.Client(base_url=address, timeout=60.0) as client:
        client.get("/healthz").raise_for_status()
        found.send(None)
        while not ended.wait(0.02):
            began_s = time.monotonic()
            client.get("/healthz").raise_for_status()
            health.append(time.monotonic() - began_s)
    found.send(health)


async def overload(address: str, *, chance: random.Random) -> Counter[int]:
    """Send all at once; give how many answers had each status (0: none came)."""
    async with crowd(address, timeout_s=120.0) as callers:
        calls = [_call(callers, path) for path in chance.choices(["/v1/explain", "/v1/score"], k=CALLS)]
        found: Counter[int] = Counter()
        for one in await asyncio.gather(*calls, *[_batch(callers) for _ in range(BATCHES)]):
            found.update(one)
        return found


async def _call(callers: Crowd, path: str) -> list[int]:
    return [(await callers.post(path, _body(path))).status]


async def _batch(callers: Crowd) -> list[int]:
    path = "/v1/score"
    answer = await callers.post(f"{path}/batch", {"items": [_body(path)] * ITEMS}, read=True)
    if answer.status != 200:
        return [answer.status] * ITEMS
    return [_status(item) for item in answer.body["data"]]


def _status(item: dict[str, Any]) -> int:
    return int(item["problem"]["status"]) if "problem" in item else 200


def _body(path: str) -> dict[str, Any]:
    body: dict[str, Any] = {"question": "1+1?", "solution": "2"}
    return body if path.endswith("explain") else body | {"explanations": ["One and one are two."]}
