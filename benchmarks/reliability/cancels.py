"""Cancellation at random moments, of trainers that ignore SIGTERM and leave orphans in sessions of their own."""

import random
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from benchmarks.reliability.ledger import book_of
from benchmarks.reliability.parts import stub_plant
from benchmarks.reliability.plant import Plant, is_gone, wait_for
from benchmarks.reliability.trial import Trial, left_over
from rlt_core.schemas.jobs import Job
from rlt_service.settings import Settings

TERMINAL_S = 30.0
STUBBORN = "stubborn"
AS_THEY_COME = {
    f"RLT_{name.upper()}": str(Settings.model_fields[name].default)
    for name in ("lease_s", "heartbeat_s", "cancel_grace_s", "reconcile_s")
}


def trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Cancel between the submission and the end."""
    chance, plant = random.Random(seed), stub_plant(folder / "home")
    try:
        plant.start(workers=2)
        for number in range(count):
            job = plant.submit(plant.warmup(f"steps=20 step_s=0.1 {chance.choice(('', STUBBORN))}"))
            time.sleep(chance.uniform(0.0, 2.0))
            yield _trial(plant, job, row="cancel", number=number, seed=seed)
    finally:
        left = plant.end()
    yield from left_over(left, row="cancel", number=count, seed=seed)


def default_trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Cancel trainers that ignore SIGTERM while they train, between two heartbeats."""
    chance, row = random.Random(seed), "cancel-by-default"
    plant = stub_plant(folder / "home", serving=None, base_model=None, database_url=None, **AS_THEY_COME)
    try:
        plant.start(workers=2)
        for number in range(count):
            job = plant.submit(plant.warmup(f"steps=900 step_s=0.1 {STUBBORN}"))
            wait_for(lambda job=job: plant.jobs.get(job.id).progress.step, what="it trains")
            time.sleep(chance.uniform(0.0, float(AS_THEY_COME["RLT_HEARTBEAT_S"])))
            yield _trial(plant, job, row=row, number=number, seed=seed)
    finally:
        left = plant.end()
    yield from left_over(left, row=row, number=count, seed=seed)


def _trial(plant: Plant, job: Job, *, row: str, number: int, seed: int) -> Trial:
    began_s = time.monotonic()
    httpx.post(f"{plant.address}/v1/jobs/{job.id}/cancel", timeout=30.0).raise_for_status()
    wait_for(lambda: plant.has_ended(job.id), what="it has ended")
    seconds = time.monotonic() - began_s
    ended = plant.jobs.get(job.id)
    pids = [pid for attempt in range(1, ended.attempt + 1) for pid in plant.pids_of(job.id, attempt)]
    left = {pid for pid in pids if not is_gone(pid)} | plant.trainers_of(job.id)
    wrong = book_of(plant, job.id).faults(save_every=1)
    if left:
        wrong.append(f"processes left: {sorted(left)}")
    if seconds > TERMINAL_S:
        wrong.append(f"it ended after {seconds:.1f} s")
    return Trial(
        row=row,
        number=number,
        seed=seed,
        fault="cancel" + (" of a trainer that ignores SIGTERM and has an orphan" if _is_stubborn(job) else ""),
        # Work that was done before the next heartbeat brought the wish counts as done.
        passed=not wrong and ended.status in ("cancelled", "succeeded"),
        seconds=round(seconds, 3),
        detail="; ".join(wrong) or f"{ended.status}, {len(pids)} processes had been started",
    )


def _is_stubborn(job: Job) -> bool:
    return STUBBORN in (job.name or "").split()
