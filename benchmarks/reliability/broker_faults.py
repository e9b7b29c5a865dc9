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
from benchmarks.reliability.trial import Trial, left_over
from rlt_core.errors import UnavailableError
from rlt_service.jobs.broker import broker_folders

RING_S = 30.0
"""Longest time from the broker's return until what waits is heard."""
JOBS = 5
WORKERS = 2
OUTAGE_S = 60.0
TORN_BYTES = 7
SETTLED_S = 2.0
"""A worker that has ended a job takes the next that it finds in less."""


def trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Bring every fault about, `count` times."""
    yield from _trials(count=count, seed=seed, folder=folder, outage_s=OUTAGE_S)


def quick_trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Do the same with a short outage."""
    yield from _trials(count=count, seed=seed, folder=folder, outage_s=4.0)


def _trials(*, count: int, seed: int, folder: Path, outage_s: float) -> Iterator[Trial]:
    faults: dict[str, Callable[[Plant], list[str]]] = {
        "kill -9 of the broker": lambda plant: _away(plant, seconds=0.0),
        f"{outage_s:.0f} s without a broker": lambda plant: _away(plant, seconds=outage_s),
        "FLUSHALL": _flush,
        "truncated append-only file": _truncate,
    }
    plant = stub_plant(folder / "home")
    try:
        plant.start(workers=WORKERS)
        for number in range(count):
            for fault, harm in faults.items():
                yield _trial(plant, fault, harm, number=number, seed=seed)
    finally:
        left = plant.end()
    yield from left_over(left, row="broker", number=count, seed=seed)


def _trial(plant: Plant, fault: str, harm: Callable[[Plant], list[str]], *, number: int, seed: int) -> Trial:
    """Harm it while jobs run; what is submitted next finds idle workers, who must hear a bell to begin."""
    before = [plant.submit(plant.warmup("steps=4 step_s=0.2")).id for _ in range(JOBS)]
    wait_for(lambda: plant.jobs.counts().get("running", 0) == WORKERS, what="jobs run")
    began_s = time.monotonic()
    after = harm(plant)
    back_s = time.monotonic()
    wait_for(lambda: plant.jobs.get(after[0]).started_at is not None, what="the first job after it is started")
    heard_s = time.monotonic() - back_s
    wait_for(lambda: all(map(plant.has_ended, [*before, *after])), what="all jobs have ended")
    books = [book_of(plant, job) for job in [*before, *after]]
    wrong = [text for book in books for text in book.faults(save_every=1)]
    wrong += [f"{book.job.id} {book.job.status}" for book in books if book.job.status != "succeeded"]
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
        figures={"jobs": len(books), "all_s": round(time.monotonic() - began_s, 1)},
    )


def tear_file(plant: Plant) -> bool:
    """Take the last bytes of a dead broker's append-only file, as a crash in a write does; false where it has none."""
    files = [path for path in broker_folders(plant.home).data.rglob("*.aof") if path.stat().st_size]
    for path in files:
        os.truncate(path, max(0, path.stat().st_size - TORN_BYTES))
    return bool(files)


def _kill(plant: Plant) -> None:
    pid = plant.broker.pid
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not plant.broker.alive(), what="the broker is gone")


def _away(plant: Plant, *, seconds: float) -> list[str]:
    """Take the broker away; it comes back when the workers have nothing left to do, and other jobs wait."""
    _kill(plant)
    end_s = time.monotonic() + seconds
    _wait_without_broker(plant)
    after = [_submit(plant)]
    while time.monotonic() < end_s:
        time.sleep(min(5.0, max(0.0, end_s - time.monotonic())))
        after.append(_submit(plant))
    plant.broker.start()
    return after


def _flush(plant: Plant) -> list[str]:
    """Empty the broker while a bell waits in it, with no worker there to have heard it."""
    _wait_idle(plant)
    for worker in list(plant.workers):
        plant.kill(worker)
    after = [_submit(plant) for _ in range(JOBS)]
    with redis.Redis(unix_socket_path=str(broker_folders(plant.home).socket), socket_timeout=5.0) as client:
        wait_for(lambda: any(client.type(key) == b"list" for key in client.scan_iter()), what="a bell waits")
        client.flushall()
    for _ in range(WORKERS):
        plant.start_worker()
    return after


def _truncate(plant: Plant) -> list[str]:
    _kill(plant)
    _wait_without_broker(plant)
    after = [_submit(plant) for _ in range(JOBS)]
    tear_file(plant)
    try:
        plant.broker.start()
    except UnavailableError:
        plant.broker.start()
    return after


def _submit(plant: Plant) -> str:
    return plant.submit(plant.warmup("steps=2")).id


def _wait_without_broker(plant: Plant) -> None:
    """Wait until workers that no bell can reach have done what they found, and a little longer.

    What still waits then was queued again, as after a lease that a busy machine lost: nobody can be told of it before
    the broker is back.
    """
    last_s = time.monotonic()

    def settled() -> bool:
        nonlocal last_s
        if plant.jobs.counts().get("running"):
            last_s = time.monotonic()
        return time.monotonic() - last_s > SETTLED_S

    wait_for(settled, what="workers have nothing to do that they know of")


def _wait_idle(plant: Plant) -> None:
    """Wait until nothing runs or waits, and a little longer: then workers listen for a bell again."""
    wait_for(lambda: not any(plant.jobs.counts().get(status) for status in ("queued", "running")), what="all is done")
    time.sleep(0.5)
