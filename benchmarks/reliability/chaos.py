"""All faults at random, over thousands of stub jobs or over some real ones: what was acknowledged is done once."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from benchmarks.reliability.harm import Harm
from benchmarks.reliability.leaks import Leaks
from benchmarks.reliability.ledger import book_of
from benchmarks.reliability.parts import real_plant, real_spec, stub_plant
from benchmarks.reliability.plant import Plant, wait_for
from benchmarks.reliability.trial import Trial
from rlt_core.errors import RltError
from rlt_core.schemas.jobs import RlSpec, WarmupSpec

Spec = WarmupSpec | RlSpec
ENOUGH_TO_GROW = 100
"""Jobs of a run that is long enough to tell a leak from a start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is sent, to how many workers, and how often something is harmed."""

    row: str
    workers: int
    ahead: int
    """Jobs that wait or run at any time."""
    between_s: tuple[float, float]
    """Between two faults, at least and at most."""
    save_every: int
    spec: Callable[[Plant, int, random.Random], Spec]


@dataclass(slots=True)
class Submitter:
    """Sends jobs, each under a key of its own, until the service has acknowledged it, whatever happens meanwhile."""

    plant: Plant
    course: Course
    count: int
    seed: int
    acknowledged: list[str] = field(default_factory=list[str])
    statuses: Counter[str] = field(default_factory=Counter[str])

    def run(self) -> None:
        """Send them all, never more ahead of the workers than the course says."""
        chance = random.Random(self.seed)
        with httpx.Client(timeout=10.0) as client:
            for number in range(self.count):
                while (
                    sum(self.plant.jobs.counts().get(status, 0) for status in ("queued", "running"))
                    >= self.course.ahead
                ):
                    time.sleep(0.1)
                spec = self.course.spec(self.plant, number, chance)
                self.acknowledged.append(self._send(client, spec, key=f"{self.seed}-{number}"))

    def _send(self, client: httpx.Client, spec: Spec, *, key: str) -> str:
        body = spec.model_dump(mode="json", exclude_unset=True)
        while True:
            try:
                answer = client.post(f"{self.plant.address}/v1/train", json=body, headers={"Idempotency-Key": key})
            except httpx.HTTPError as error:
                self.statuses[type(error).__name__] += 1
            else:
                self.statuses[str(answer.status_code)] += 1
                if answer.status_code == 202:
                    return answer.json()["id"]
            time.sleep(0.1)


def stub_trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Send `count` stub jobs through a plant that is harmed all the time."""

    def spec(plant: Plant, number: int, chance: random.Random) -> Spec:
        steps = chance.choice(("steps=1", "steps=1", "steps=2", "steps=6 step_s=0.1"))
        return plant.warmup(f"{steps} number={number}")

    course = Course(row="chaos", workers=10, ahead=60, between_s=(0.3, 1.2), save_every=1, spec=spec)
    yield from _trials(stub_plant(folder / "home"), course, count=count, seed=seed)


def real_trials(*, count: int, seed: int, folder: Path, base_model: Path) -> Iterator[Trial]:
    """Send `count` jobs of the real trainer, warm-ups and rl in turn."""

    def spec(plant: Plant, number: int, _chance: random.Random) -> Spec:
        return real_spec(plant, number)

    course = Course(row="chaos-real", workers=3, ahead=4, between_s=(2.0, 8.0), save_every=4, spec=spec)
    yield from _trials(real_plant(folder / "home", base_model=base_model), course, count=count, seed=seed)


def _trials(plant: Plant, course: Course, *, count: int, seed: int) -> Iterator[Trial]:
    """Each job is a trial, and so is what grew, and what is left over."""
    began_s = time.monotonic()
    try:
        plant.start(workers=course.workers)
        harm = Harm(plant, seed=seed)
        submitter = Submitter(plant=plant, course=course, count=count, seed=seed)
        sending = threading.Thread(target=submitter.run, daemon=True)
        sending.start()
        watched = [Leaks("the veteran worker", psutil.Process(plant.workers[0].pid))]
        pause, died = random.Random(seed + 1), list[str]()
        while sending.is_alive():
            time.sleep(pause.uniform(*course.between_s))
            harm.strike()
            died += _restart_dead(plant)
            for leaks in watched:
                leaks.look()
        _settle(plant)
        yield from _judged(plant, harm, submitter, watched, died, seed=seed, seconds=time.monotonic() - began_s)
    finally:
        left = plant.end()
    yield _about_all("processes left", [str(process.pid) for process in left], count + 2, row=course.row, seed=seed)


def _restart_dead(plant: Plant) -> list[str]:
    """Start again what ended by itself, as a process manager would; give what it was."""
    died: list[str] = []
    for worker in [worker for worker in plant.workers if worker.poll() is not None]:
        died.append(f"worker, exit code {worker.returncode}")
        plant.workers.remove(worker)
        plant.start_worker()
    if plant.controls[0].poll() is not None:
        died.append(f"control, exit code {plant.controls[0].returncode}")
        plant.controls.clear()
        plant.start_control()
    return died


def _settle(plant: Plant) -> None:
    """Wait for the end of all that was sent, without more harm; a pause that came late is taken back."""

    def has_settled() -> bool:
        for job in plant.jobs.list(status="paused", limit=100).data:
            plant.jobs.resume(job.id)
        counts = plant.jobs.counts()
        return not any(counts.get(status) for status in ("queued", "running", "paused"))

    wait_for(has_settled, what="every job has ended", timeout_s=900.0)


def _judged(
    plant: Plant,
    harm: Harm,
    submitter: Submitter,
    watched: list[Leaks],
    died: list[str],
    *,
    seed: int,
    seconds: float,
) -> Iterator[Trial]:
    sent, course = submitter.acknowledged, submitter.course
    for number, job in enumerate(sent):
        yield _judge(plant, course, job, may_be_cancelled=job in harm.cancelled, number=number, seed=seed)
    stored = sum(plant.jobs.counts().values())
    found = (submitter.count, len(sent), len(set(sent)), stored)
    wrong = [] if len(set(found)) == 1 else ["{} to send, {} acknowledged, {} jobs named, {} stored".format(*found)]
    wrong += [f"ended by itself: {name}" for name in died]
    harms = ", ".join(f"{name} {times}" for name, times in sorted(harm.done.items()))
    told = f"all: {harms}; answers {dict(submitter.statuses)}"
    figures: dict[str, float] = {"seconds": round(seconds, 1), "faults": harm.done.total(), "jobs": len(sent)}
    yield _about_all(told, wrong, len(sent), row=course.row, seed=seed, figures=figures)
    if len(sent) < ENOUGH_TO_GROW:
        return
    grown = [text for leaks in watched for text in leaks.faults()]
    memory, descriptors = watched[0].growth() if len(watched[0].memory_mib) > 5 else (0.0, 0.0)
    more = {"memory_growth": round(memory, 3), "more_descriptors": descriptors}
    yield _about_all("memory and file descriptors", grown, len(sent) + 1, row=course.row, seed=seed, figures=more)


def _judge(plant: Plant, course: Course, job: str, *, may_be_cancelled: bool, number: int, seed: int) -> Trial:
    try:
        book = book_of(plant, job)
    except RltError as error:
        return _about_all("job", [f"{job}: {error}"], number, row=course.row, seed=seed)
    wrong = book.faults(save_every=course.save_every)
    if book.job.status != "succeeded" and not (may_be_cancelled and book.job.status == "cancelled"):
        wrong.append(f"it {book.job.status}: {book.job.error}")
    figures: dict[str, float] = {"attempts": book.job.attempt}
    return _about_all("job", wrong, number, row=course.row, seed=seed, figures=figures)


def _about_all(
    fault: str, wrong: list[str], number: int, *, row: str, seed: int, figures: dict[str, float] | None = None
) -> Trial:
    return Trial(
        row=row,
        number=number,
        seed=seed,
        fault=fault,
        passed=not wrong,
        seconds=0.0,
        detail="; ".join(wrong),
        figures=figures or {},
    )
