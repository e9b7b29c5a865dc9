"""SIGKILL of workers and trainers at random moments, among them the writing of a checkpoint, while jobs run."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.reliability.ledger import book_of
from benchmarks.reliability.parts import real_plant, real_spec, stub_plant
from benchmarks.reliability.plant import Plant, wait_for
from benchmarks.reliability.row_postgres import lent_postgres
from benchmarks.reliability.trainer_points import wait_until_it_stands
from benchmarks.reliability.trial import Trial, left_over
from rlt_core.schemas.jobs import Job, RlSpec, WarmupSpec

AGAIN_S = 8.0
"""Longest time until a job whose worker was killed runs again, by a lease of 3 s."""
AGAIN_BUSY_S = 60.0
"""The same where other work takes the processors."""
WORKERS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kill:
    """One kill: what, when (by the clock that also stamps events, on the same machine), and whom it hit."""

    fault: str
    at_s: float
    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How jobs are made and when they are hit."""

    row: str
    spec: Callable[[Plant, int], WarmupSpec | RlSpec]
    save_every: int
    workers: int
    at_once: int
    """Jobs that wait or run at any time."""
    pause_s: tuple[float, float]
    """Between two kills, at least and at most."""
    again_s: float


def stub_trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Kill among stub jobs."""
    yield from _stub_trials(count=count, seed=seed, folder=folder, again_s=AGAIN_S)


def quick_stub_trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Do the same among other tests."""
    yield from _stub_trials(count=count, seed=seed, folder=folder, again_s=AGAIN_BUSY_S)


def postgres_trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Kill among stub jobs whose database is Postgres."""
    with lent_postgres() as url:
        yield from _stub_trials(count=count, seed=seed, folder=folder, again_s=AGAIN_S, database_url=url)


def quick_postgres_trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Do the same among other tests."""
    with lent_postgres() as url:
        yield from _stub_trials(count=count, seed=seed, folder=folder, again_s=AGAIN_BUSY_S, database_url=url)


def _stub_trials(
    *, count: int, seed: int, folder: Path, again_s: float, database_url: str | None = None
) -> Iterator[Trial]:

    def spec(plant: Plant, number: int) -> WarmupSpec | RlSpec:
        name = "steps=12 step_s=0.08 save_s=0.02"
        return plant.promoted(name, number=number) if number % 2 else plant.warmup(name)

    course = Course(
        row="kills-stub" if database_url is None else "kills-postgres",
        spec=spec,
        save_every=1,
        workers=WORKERS,
        at_once=5,
        pause_s=(0.1, 0.8),
        again_s=again_s,
    )
    yield from _trials(stub_plant(folder / "home", database_url=database_url), course, count=count, seed=seed)


def real_trials(*, count: int, seed: int, folder: Path, base_model: Path) -> Iterator[Trial]:
    """Kill among the real trainer's jobs, warm-ups and rl in turn."""
    yield from _real_trials(count=count, seed=seed, folder=folder, base_model=base_model, again_s=AGAIN_S)


def quick_real_trials(*, count: int, seed: int, folder: Path, base_model: Path) -> Iterator[Trial]:
    """Do the same among other tests."""
    yield from _real_trials(count=count, seed=seed, folder=folder, base_model=base_model, again_s=AGAIN_BUSY_S)


def _real_trials(*, count: int, seed: int, folder: Path, base_model: Path, again_s: float) -> Iterator[Trial]:
    course = Course(
        row="kills-real",
        spec=real_spec,
        save_every=4,
        # One more than there are jobs: the time until a job runs again is not spent behind another job.
        workers=3,
        at_once=2,
        pause_s=(2.0, 12.0),
        # The worker is found again in the same time; what it starts is torch, on two cores.
        again_s=again_s,
    )
    yield from _trials(real_plant(folder / "home", base_model=base_model), course, count=count, seed=seed)


def _trials(plant: Plant, course: Course, *, count: int, seed: int) -> Iterator[Trial]:
    chance = random.Random(seed)
    jobs: list[str] = []
    kills: list[_Kill] = []
    try:
        plant.start(workers=course.workers)
        while len(kills) < count:
            _keep_busy(plant, course, jobs)
            time.sleep(chance.uniform(*course.pause_s))
            kill = _kill_something(plant, chance)
            if kill is not None:
                kills.append(kill)
            while len(plant.workers) < course.workers:
                plant.start_worker()
        wait_for(lambda: all(map(plant.has_ended, jobs)), what="every job has ended", timeout_s=600.0)
        yield from _judged(plant, course, jobs, kills, seed=seed)
    finally:
        left = plant.end()
    yield from left_over(left, row=course.row, number=count, seed=seed)


def _keep_busy(plant: Plant, course: Course, jobs: list[str]) -> None:
    alive = sum(not plant.has_ended(job) for job in jobs[-4 * course.at_once :])
    for _ in range(course.at_once - alive):
        jobs.append(plant.submit(course.spec(plant, len(jobs))).id)


def _kill_something(plant: Plant, chance: random.Random) -> _Kill | None:
    """Kill the worker, the trainer, or the trainer inside the write of a checkpoint; None where nothing runs."""
    running = plant.jobs.list(status="running", limit=50).data
    if not running:
        return None
    job = chance.choice(running)
    fault = chance.choice(("worker", "trainer", "checkpoint"))
    if fault == "worker":
        worker = plant.worker_of(job)
        if worker is None:
            return None
        at_s = time.time()
        plant.kill(worker)
        return _Kill(fault=fault, at_s=at_s, job_id=job.id, attempt=job.attempt)
    trainer = _trainer_of(plant, job)
    if trainer is None:
        return None
    try:
        if fault == "checkpoint" and not _stops_in_checkpoint(plant, job, trainer):
            return None
        at_s = time.time()
        trainer.kill()
    except psutil.NoSuchProcess:
        return None
    return _Kill(fault=fault, at_s=at_s, job_id=job.id, attempt=job.attempt)


def _trainer_of(plant: Plant, job: Job) -> psutil.Process | None:
    """Find the process that has this attempt's job file on its command line."""
    worker = plant.worker_of(job)
    if worker is None:
        return None
    name = plant.artifacts.job_file(job.id, job.attempt)
    try:
        children = psutil.Process(worker.pid).children()
        return next((child for child in children if str(name) in child.cmdline()), None)
    except psutil.Error:
        return None


def _stops_in_checkpoint(plant: Plant, job: Job, trainer: psutil.Process) -> bool:
    """Stop a trainer that writes a checkpoint; False where it was not seen to, and goes on.

    It is looked at once more when it stands still: what it is killed at is certain.
    """
    folder = plant.artifacts.attempt_dir(job.id, job.attempt) / "checkpoints"
    deadline_s = time.monotonic() + 3.0
    while time.monotonic() < deadline_s:
        if not _is_half_written(folder):
            continue
        trainer.suspend()
        wait_until_it_stands(trainer)
        if _is_half_written(folder):
            return True
        trainer.resume()
    return False


def _is_half_written(folder: Path) -> bool:
    """Whether a checkpoint lies there that does not have its name yet."""
    try:
        return any(child.suffix == ".part" for child in folder.iterdir())
    except OSError:
        return False


def _judged(plant: Plant, course: Course, jobs: list[str], kills: list[_Kill], *, seed: int) -> Iterator[Trial]:
    books = {job: book_of(plant, job) for job in jobs}
    faults = {job: book.faults(save_every=course.save_every) for job, book in books.items()}
    for job, book in books.items():
        if book.job.status != "succeeded":
            faults[job].append(f"it {book.job.status}: {book.job.error}")
    last = {kill.job_id: number for number, kill in enumerate(kills)}
    for number, kill in enumerate(kills):
        # What is wrong with a job counts once: in the last kill that hit it.
        wrong = faults.pop(kill.job_id, []) if last[kill.job_id] == number else []
        again = [event for event in books[kill.job_id].starts() if event.attempt == kill.attempt + 1]
        seconds = again[0].created_at.timestamp() - kill.at_s if again else 0.0
        if seconds > course.again_s:
            wrong = [*wrong, f"ran again after {seconds:.1f} s"]
        if not again and not wrong:
            continue  # it had done its work when it was hit: nothing was tried
        yield Trial(
            row=course.row,
            number=number,
            seed=seed,
            fault=kill.fault,
            passed=not wrong,
            seconds=round(seconds, 3),
            detail="; ".join(wrong),
            figures={"attempt": kill.attempt},
        )
    moves = sum(book.moves for book in books.values())
    unhit = {job: wrong for job, wrong in faults.items() if wrong}
    yield Trial(
        row=course.row,
        number=len(kills),
        seed=seed,
        fault="all jobs",
        passed=not unhit,
        seconds=0.0,
        detail=str(unhit)
        if unhit
        else f"{len(jobs)} jobs ended once with one version each, {moves} moved an alias once",
        figures={"jobs": len(jobs), "most_steps_lost": max(max(b.lost_steps(), default=0) for b in books.values())},
    )
