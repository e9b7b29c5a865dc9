"""Ten times the clients that a server has room for, for a minute: it goes on giving what it gave before (fake engine).

The server's room is ROOM calls, each takes WORK_S; so many clients keep it full and none is refused. Ten times as many
then ask as often: who is refused asks again after WORK_S, whatever Retry-After says.
"""

import asyncio
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from benchmarks.reliability.crowd import Crowd, crowd
from benchmarks.reliability.serving_overload import ALLOWED, GROWTH, probe
from benchmarks.reliability.slow_service import SlowService, slow_service
from benchmarks.reliability.trial import Trial

ROW = "overload-sustained"
ROOM = 16
WORK_S = 0.5
TIMES = 10
OVERLOAD_S, QUICK_S = 60.0, 10.0
HEALTH_S = 0.1
SATURATED_S = 20.0
GOODPUT, QUICK_GOODPUT = 0.95, 0.0
"""Least share of the saturated rate; other work on the same processors takes some of it."""
REFUSED = 0.2
"""Least share of the calls that are refused; it is nine tenths where the clients are not held up."""
BODY: Mapping[str, Any] = {"question": "1+1?", "solution": "2", "max_tokens": 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long, and what is promised there."""

    overload_s: float
    saturated_s: float
    goodput: float
    asked: float
    """At least so many times the calls of before: the machine that sends them may be too slow for more."""
    health_s: float
    """Of /healthz at p99."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What came back from so many clients."""

    statuses: Mapping[int, int]
    """0: no answer came."""
    rate: float
    """Good answers a second, from the time on at which every client had begun."""
    asked: float
    """All answers a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """All of one trial: saturated, overloaded, saturated again."""

    before: Phase
    overload: Phase
    after: Phase
    health_p99_s: float
    """While it was overloaded."""
    memory: tuple[int, int]
    """Resident bytes before the overload and after it, both with nothing in hand."""

    def faults(self, bounds: Bounds) -> list[str]:
        """Say what was not as promised, and what was no overload."""
        found: list[str] = []
        strange = {status for phase in (self.before, self.overload, self.after) for status in phase.statuses} - ALLOWED
        if strange:
            found.append(f"answers {sorted(strange)}")
        if self.overload.statuses.get(429, 0) < REFUSED * sum(self.overload.statuses.values()):
            found.append("hardly any call was refused: that was no overload")
        if self.overload.asked < bounds.asked * self.before.asked:
            found.append(f"only {self.overload.asked:.0f} calls a second, {self.before.asked:.0f} before")
        for name, phase in (("while overloaded", self.overload), ("afterwards", self.after)):
            if phase.rate < bounds.goodput * self.before.rate:
                found.append(f"{phase.rate:.1f} answers a second {name}, {self.before.rate:.1f} before")
        if self.health_p99_s >= bounds.health_s:
            found.append(f"/healthz took {self.health_p99_s:.3f} s at p99")
        if self.memory[1] > GROWTH * self.memory[0]:
            found.append(f"memory grew to {self.memory[1] / self.memory[0]:.2f} times")
        return found


FULL = Bounds(overload_s=OVERLOAD_S, saturated_s=SATURATED_S, goodput=GOODPUT, asked=5.0, health_s=HEALTH_S)
QUICK = Bounds(overload_s=QUICK_S, saturated_s=5.0, goodput=QUICK_GOODPUT, asked=1.0, health_s=float("inf"))


def trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Overload `count` servers for a minute each."""
    for number in range(count):
        yield _trial(folder, FULL, number=number, seed=seed + number)


def quick_trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Do the same for ten seconds, among other tests, which take too much of the processors to promise times."""
    for number in range(count):
        yield _trial(folder, QUICK, number=number, seed=seed + number)


def _trial(folder: Path, bounds: Bounds, *, number: int, seed: int) -> Trial:
    room = str(ROOM)
    with slow_service(folder / f"sustained-{number}", delay_s=WORK_S, RLT_MAX_QUEUED_REQUESTS=room) as service:
        found = _found(service, bounds, seed=seed)
    wrong = found.faults(bounds)
    return Trial(
        row=ROW,
        number=number,
        seed=seed,
        fault=f"{TIMES * ROOM} clients for {bounds.overload_s:.0f} s where {ROOM} keep it busy",
        passed=not wrong,
        detail="; ".join(wrong) or ", ".join(f"{status}: {n}" for status, n in sorted(found.overload.statuses.items())),
        figures={
            "saturated_per_s": round(found.before.rate, 2),
            "overloaded_per_s": round(found.overload.rate, 2),
            "asked_times": round(found.overload.asked / found.before.asked, 2),
            "afterwards_per_s": round(found.after.rate, 2),
            "healthz_p99_s": round(found.health_p99_s, 4),
            "memory_growth": round(found.memory[1] / found.memory[0], 3),
        },
    )


def _found(service: SlowService, bounds: Bounds, *, seed: int) -> Found:
    before, _ = _phase(service.address, clients=ROOM, seconds=bounds.saturated_s, seed=seed)
    memory = psutil.Process(service.process.pid).memory_info().rss
    overload, health = _phase(service.address, clients=TIMES * ROOM, seconds=bounds.overload_s, seed=seed + 1)
    after, _ = _phase(service.address, clients=ROOM, seconds=bounds.saturated_s, seed=seed + 2)
    return Found(
        before=before,
        overload=overload,
        after=after,
        health_p99_s=sorted(health)[int(len(health) * 0.99)] if health else float("inf"),
        memory=(memory, psutil.Process(service.process.pid).memory_info().rss),
    )


def _phase(address: str, *, clients: int, seconds: float, seed: int) -> tuple[Phase, list[float]]:
    """Run the clients in one process and ask /healthz from another; give the seconds of its answers too."""
    context = multiprocessing.get_context("spawn")
    ended = context.Event()
    receiving, sending = context.Pipe(duplex=False)
    prober = context.Process(target=probe, args=(address, ended, sending), daemon=True)
    asked, asking = context.Pipe(duplex=False)
    crowd = context.Process(target=ask_for, args=(address, clients, seconds, seed, asking), daemon=True)
    prober.start()
    sending.close()  # here, so that the end of a process that dies is seen: EOFError
    receiving.recv()
    crowd.start()
    asking.close()
    try:
        phase: Phase = asked.recv()
    finally:
        ended.set()
    health: list[float] = receiving.recv()
    crowd.join()
    prober.join()
    return phase, health


def ask_for(address: str, clients: int, seconds: float, seed: int, found: Connection) -> None:
    """Let so many clients ask for so long, each one call after the other, and send the Phase."""
    found.send(asyncio.run(_ask_for(address, clients=clients, seconds=seconds, chance=random.Random(seed))))


async def _ask_for(address: str, *, clients: int, seconds: float, chance: random.Random) -> Phase:
    # Begun all at once, they would come in waves, and a second more or less would hold a wave more or less.
    begin_s = time.monotonic() + WORK_S
    ends_s = begin_s + seconds
    statuses, good = Counter[int](), 0

    async def one(callers: Crowd, wait_s: float) -> None:
        nonlocal good
        await asyncio.sleep(wait_s)
        while time.monotonic() < ends_s:
            status = (await callers.post("/v1/explain", BODY)).status
            statuses[status] += 1
            good += status == 200 and begin_s <= time.monotonic() < ends_s
            if status != 200:
                await asyncio.sleep(WORK_S)

    async with crowd(address, timeout_s=60.0) as callers:
        await asyncio.gather(*[one(callers, chance.uniform(0.0, WORK_S)) for _ in range(clients)])
    return Phase(statuses=dict(statuses), rate=good / seconds, asked=statuses.total() / (seconds + WORK_S))
