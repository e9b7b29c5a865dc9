"""Own what happens to the broker: killed, away for a while, emptied, its file torn. Jobs only wait."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import redis

from benchmarks.reliability.ledger import book_of
from benchmarks.reliability.parts import stub_plant
from benchmarks.reliability.plant import Plant, wait_for
from benchmarks.reliability.trial import Trial
from rlt_core.errors import UnavailableError
from rlt_service.jobs.broker import broker_folders

RING_S = 30.0
"""Longest time from the broker's return until what waits is heard."""
JOBS = 5
OUTAGE_S = 60.0


def trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Bring every fault about, `count` times; a count below 1 is an outage of a few seconds, for quick looks."""
    outage_s = OUTAGE_S if count > 1 else 4.0
    faults: dict[str, Callable[[Plant], None]] = {
        "kill -9 of the broker": lambda plant: _away(plant, seconds=0.0),
        f"{outage_s:.0f} s without a broker": lambda plant: _away(plant, seconds=outage_s),
        "FLUSHALL": _flush,
        "truncated append-only file": _truncate,
    }
    plant = stub_plant(folder / "home")
    try:
        plant.start(workers=2)
        for number in range(count):
            for fault, harm in faults.items():
                yield _trial(plant, fault, harm, number=number, seed=seed)
    finally:
        plant.end()


def _trial(plant: Plant, fault: str, harm: Callable[[Plant], None], *, number: int, seed: int) -> Trial:
    before = [plant.submit(plant.warmup("steps=4 step_s=0.2")).id for _ in range(JOBS)]
    began_s = time.monotonic()
    harm(plant)
    after = [plant.submit(plant.warmup("steps=2")).id for _ in range(JOBS)]
    plant.broker.start()
    back_s = time.monotonic()
    wait_for(lambda: plant.jobs.get(after[0]).started_at is not None, what="the first job after it is started")
    heard_s = time.monotonic() - back_s
    wait_for(lambda: all(map(plant.has_ended, [*before, *after])), what="all jobs have ended")
    wrong = [text for job in [*before, *after] for text in book_of(plant, job).faults(save_every=1)]
    if heard_s > RING_S:
        wrong.append(f"heard {heard_s:.1f} s after the broker's return")
    return Trial(
        row="broker",
        number=number,
        seed=seed,
        fault=fault,
        passed=not wrong,
        seconds=round(heard_s, 3),
        detail="; ".join(wrong),
        figures={"jobs": 2 * JOBS, "all_s": round(time.monotonic() - began_s, 1)},
    )


def _kill(plant: Plant) -> None:
    pid = plant.broker.pid
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not plant.broker.alive(), what="the broker is gone")


def _away(plant: Plant, *, seconds: float) -> None:
    _kill(plant)
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s:
        # Submissions are taken meanwhile.
        plant.submit(plant.warmup("steps=1"))
        time.sleep(min(5.0, max(0.0, end_s - time.monotonic())))


def _flush(plant: Plant) -> None:
    with redis.Redis(unix_socket_path=str(broker_folders(plant.home).socket), socket_timeout=5.0) as client:
        client.flushall()


def _truncate(plant: Plant) -> None:
    _kill(plant)
    for path in broker_folders(plant.home).data.rglob("*.aof"):
        os.truncate(path, max(0, path.stat().st_size - 7))
    try:
        plant.broker.start()
    except UnavailableError:
        plant.broker.start()
