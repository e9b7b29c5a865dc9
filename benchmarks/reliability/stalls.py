"""A worker that stands still past its lease and comes back: what it says then is refused, and it ends its trainer."""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.reliability.ledger import Book, book_of
from benchmarks.reliability.parts import stub_plant
from benchmarks.reliability.plant import LEASE_S, Plant, is_gone, wait_for
from benchmarks.reliability.trial import Trial, left_over

ENDS_S = 10.0
"""Longest time from SIGCONT until the stale attempt's trainer is gone."""


def trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Stop workers between two writes, for a lease and some more."""
    chance, plant = random.Random(seed), stub_plant(folder / "home")
    try:
        plant.start(workers=2)
        for number in range(count):
            yield _trial(plant, chance, number=number, seed=seed)
    finally:
        left = plant.end()
    yield from left_over(left, row="stalled-worker", number=count, seed=seed)


def _trial(plant: Plant, chance: random.Random, *, number: int, seed: int) -> Trial:
    job = plant.submit(plant.warmup("steps=60 step_s=0.1"))
    wait_for(lambda: plant.jobs.get(job.id).progress.step >= 2, what="it trains")
    time.sleep(chance.uniform(0.0, 1.0))
    running = plant.jobs.get(job.id)
    worker = plant.worker_of(running)
    assert worker is not None
    pids = wait_for(lambda: plant.pids_of(job.id, running.attempt), what="its trainer is known")
    plant.freeze(worker)
    wait_for(lambda: plant.jobs.get(job.id).attempt > running.attempt, what="another attempt runs")
    worker.send_signal(signal.SIGCONT)
    began_s, had_ended = time.monotonic(), all(map(is_gone, pids))
    wait_for(lambda: all(map(is_gone, pids)), what="the stale attempt's trainer is gone")
    seconds = time.monotonic() - began_s
    wait_for(lambda: plant.has_ended(job.id), what="the job has ended")
    wait_for(lambda: f"gave up {job.id}" in plant.said_by_workers(), what="the woken worker is refused and gives up")
    wrong = faults(book_of(plant, job.id), stalled=running.attempt)
    if seconds > ENDS_S:
        wrong.append(f"its trainer ended {seconds:.1f} s after the worker came back")
    return Trial(
        row="stalled-worker",
        number=number,
        seed=seed,
        fault=f"SIGSTOP past a lease of {LEASE_S:.0f} s, then SIGCONT",
        passed=not wrong and plant.jobs.get(job.id).status == "succeeded",
        seconds=round(seconds, 3),
        detail="; ".join(wrong) or ("its trainer had ended while it stood still" if had_ended else ""),
    )


def faults(book: Book, *, stalled: int) -> list[str]:
    """Say what is wrong with the job of a stalled attempt: nothing that this said when it woke may cost another."""
    found = book.faults(save_every=1)
    if book.job.attempt != stalled + 1:
        found.append(f"attempt {stalled} stalled, and it ended in attempt {book.job.attempt}")
    return found
