"""All faults at random, over thousands of stub jobs or over some real ones: what was acknowledged is done once."""

import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import psutil

from benchmarks.reliability.asking import Asker, ask, faults_of
from benchmarks.reliability.harm import Harm
from benchmarks.reliability.leaks import Leaks
from benchmarks.reliability.ledger import Book, book_of
from benchmarks.reliability.parts import real_plant, real_spec, stub_plant
from benchmarks.reliability.plant import Plant, Serving, wait_for
from benchmarks.reliability.polling import Poller
from benchmarks.reliability.row_postgres import lent_postgres
from benchmarks.reliability.trial import Trial
from rlt_core.errors import RltError
from rlt_core.schemas.jobs import RlSpec, WarmupSpec
from rlt_service.jobs.verdict import LEASE_LOST

Spec = WarmupSpec | RlSpec
ENOUGH_JOBS, ENOUGH_S = 100, 60.0
"""Size of a run that is long enough to tell a leak from a start, and for trainers to have met an engine's death."""
BACK_S = 90.0
"""Longest time until a dead engine is back: the third restart in a row waits 30 s, on a busy machine."""
ACKNOWLEDGED_S = 180.0
"""Longest time until a submission is taken: the control service is never away for so long."""
ALLOWED = frozenset({202, 409, 429, 503})
"""Answers to a submission; 409 where the same one is still in progress, or its server was killed in it."""
ENOUGH_DEPLOYS = 4
"""Of workers that train: one of them at least has not just come to its end."""
DRAINED = "the worker was asked to end"
EXPECTED = (
    LEASE_LOST,
    DRAINED,
    "the trainer ended without a result",
    "its promotion was interrupted",
    "it was asked to pause",  # and to go on again before its worker could say so
)
"""How the reasons begin for which a job may go back to the queue: what was done on purpose makes no others."""
UNHARMED_EVERY = 3
"""Of so many submissions one goes to the control service that nobody harms."""
PROMOTED_EVERY = 20
"""Of so many stub jobs one promotes, to an alias of its own: each submission reads all aliases."""
ENGINE = Serving(module="benchmarks.reliability.engine_server")
DENSE_S, SPREAD_S = (0.3, 1.2), (1.5, 4.5)
"""Between two faults: so that everything is always coming back, or so that jobs get done by the thousand."""


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
    needs_engine: bool = False
    """Whether the trainers call the server."""


@dataclass(slots=True)
class Submitter:
    """Sends jobs, each under a key of its own, until the service has acknowledged it, whatever happens meanwhile."""

    plant: Plant
    course: Course
    count: int
    seed: int
    unharmed: str
    """Address of a control service that nobody harms."""
    acknowledged: list[str] = field(default_factory=list[str])
    statuses: Counter[int] = field(default_factory=Counter[int])
    cut: Counter[str] = field(default_factory=Counter[str])
    """Errors where no answer came."""
    gave_up: str = ""

    def faults(self) -> list[str]:
        """Say what was wrong with the answers."""
        found = [
            f"/v1/train: {status} {times} times" for status, times in self.statuses.items() if status not in ALLOWED
        ]
        return [*found, self.gave_up] if self.gave_up else found

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
                address = self.plant.address if number % UNHARMED_EVERY else self.unharmed
                job = self._send(client, spec, address=address, key=f"{self.seed}-{number}")
                if job is None:
                    self.gave_up = f"submission {number} was not taken within {ACKNOWLEDGED_S:.0f} s"
                    return
                self.acknowledged.append(job)

    def _send(self, client: httpx.Client, spec: Spec, *, address: str, key: str) -> str | None:
        body = spec.model_dump(mode="json", exclude_unset=True)
        deadline_s = time.monotonic() + ACKNOWLEDGED_S
        while time.monotonic() < deadline_s:
            try:
                answer = client.post(f"{address}/v1/train", json=body, headers={"Idempotency-Key": key})
            except httpx.HTTPError as error:
                self.cut[type(error).__name__] += 1
            else:
                self.statuses[answer.status_code] += 1
                if answer.status_code == 202:
                    return answer.json()["id"]
            time.sleep(0.1)
        return None


def stub_trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Send `count` stub jobs through a plant that is harmed again and again."""
    plant = stub_plant(folder / "home", serving=ENGINE)
    yield from _trials(plant, _stub_course("chaos", between_s=SPREAD_S), count=count, seed=seed)


def quick_stub_trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Do the same with few jobs, and as many faults in the time as there can be."""
    plant = stub_plant(folder / "home", serving=ENGINE)
    yield from _trials(plant, _stub_course("chaos", between_s=DENSE_S), count=count, seed=seed)


def postgres_trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Do the same on Postgres."""
    with lent_postgres() as url:
        plant = stub_plant(folder / "home", serving=ENGINE, database_url=url)
        yield from _trials(plant, _stub_course("chaos-postgres", between_s=DENSE_S), count=count, seed=seed)


def _stub_course(row: str, *, between_s: tuple[float, float]) -> Course:
    def spec(plant: Plant, number: int, chance: random.Random) -> Spec:
        steps = chance.choice(("steps=1", "steps=1", "steps=2", "steps=6 step_s=0.1"))
        name = f"{steps} number={number}"
        return plant.warmup(name) if number % PROMOTED_EVERY else plant.promoted(name, number=number)

    return Course(row=row, workers=10, ahead=60, between_s=between_s, save_every=1, spec=spec)


def real_trials(*, count: int, seed: int, folder: Path, base_model: Path) -> Iterator[Trial]:
    """Send `count` jobs of the real trainer, warm-ups and rl in turn."""

    def spec(plant: Plant, number: int, _chance: random.Random) -> Spec:
        return real_spec(plant, number)

    course = Course(
        row="chaos-real", workers=3, ahead=4, between_s=(2.0, 8.0), save_every=4, spec=spec, needs_engine=True
    )
    plant = real_plant(folder / "home", base_model=base_model, serving=ENGINE)
    yield from _trials(plant, course, count=count, seed=seed)


def _trials(plant: Plant, course: Course, *, count: int, seed: int) -> Iterator[Trial]:
    """Each job is a trial, and so is what grew, and what is left over."""
    began_s = time.monotonic()
    try:
        plant.start(workers=course.workers)
        poller = Poller(plant.start_unharmed_control())
        harm = Harm(plant, seed=seed)
        submitter = Submitter(plant=plant, course=course, count=count, seed=seed, unharmed=poller.address)
        sending = threading.Thread(target=submitter.run, daemon=True)
        sending.start()
        asker = Asker(plant)
        asker.start()
        poller.start()
        watched = _watched(plant)
        wait_for(lambda: plant.jobs.counts().get("succeeded"), what="the first job is done")
        pause, died = random.Random(seed + 1), list[str]()
        while sending.is_alive():
            time.sleep(pause.uniform(*course.between_s))
            harm.strike()
            died += _restart_dead(plant)
            for leaks in watched:
                leaks.look()
        harm.deploys.settle()
        _settle(plant)
        asker.stop()
        poller.stop()
        wrong = [*(f"ended by itself: {name}" for name in died), *submitter.faults(), *harm.faults()]
        wrong += [*faults_of(asker.heard), *poller.faults(), *_engine_faults(plant, harm)]
        wrong += [f"the control service that nobody harms ended with {one.returncode}" for one in _ended(plant)]
        seconds = time.monotonic() - began_s
        yield from _judged(
            plant, harm, submitter, watched, wrong, asked=asker.heard + poller.heard, seed=seed, seconds=seconds
        )
    finally:
        left = plant.end()
    yield _about_all("processes left", [str(process.pid) for process in left], count + 2, row=course.row, seed=seed)


def _watched(plant: Plant) -> list[Leaks]:
    """Watch what nobody harms, and the broker, whichever process that is by then."""
    worker, control = psutil.Process(plant.workers[0].pid), psutil.Process(plant.unharmed[0].pid)
    return [
        Leaks("the veteran worker", lambda: worker),
        Leaks("the control service that nobody harms", lambda: control),
        Leaks("the broker", partial(_broker, plant), counts_descriptors=False),
    ]


def _broker(plant: Plant) -> psutil.Process:
    pid = plant.broker.pid
    if pid is None:
        raise psutil.NoSuchProcess(0)
    return psutil.Process(pid)


def _ended(plant: Plant) -> list[subprocess.Popen[bytes]]:
    return [control for control in plant.unharmed if control.poll() is not None]


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


def _engine_faults(plant: Plant, harm: Harm) -> list[str]:
    """See an engine come back by itself that died last, under the same control service; kill one if none did."""
    try:
        if not harm.engine_deaths[plant.controls[0].pid]:
            wait_for(
                lambda: plant.is_ready() and plant.engine_processes(), what="the engine is ready", timeout_s=BACK_S
            )
            before = plant.engine_processes()
            harm.done["kill engine"] += harm.kill_engine()
            wait_for(lambda: not any(process.is_running() for process in before), what="the engine is dead")
        what = "the dead engine is back"
        wait_for(lambda: plant.engine_processes() and plant.is_ready(), what=what, timeout_s=BACK_S)
    except TimeoutError as error:
        return [str(error)]
    answer = ask(plant)
    return [] if answer == "200" else [f"the engine that is back answers {answer}"]


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
    watched: Sequence[Leaks],
    wrong: list[str],
    *,
    asked: Counter[str],
    seed: int,
    seconds: float,
) -> Iterator[Trial]:
    sent, course = submitter.acknowledged, submitter.course
    waits, drained = 0.0, 0.0
    for number, job in enumerate(sent):
        trial = _judge(plant, course, job, may_be_cancelled=job in harm.cancelled, number=number, seed=seed)
        waits += trial.figures.get("waits", 0.0)
        drained += trial.figures.get("drained", 0.0)
        yield trial
    stored = sum(plant.jobs.counts().values())
    found = (submitter.count, len(sent), len(set(sent)), stored)
    if len(set(found)) != 1:
        wrong = [*wrong, "{} to send, {} acknowledged, {} jobs named, {} stored".format(*found)]
    if course.needs_engine and len(sent) >= ENOUGH_JOBS and not waits:
        wrong = [*wrong, "no trainer has met an engine that was away"]
    if harm.deploys_at_work >= ENOUGH_DEPLOYS and not drained:
        wrong = [*wrong, "no worker that was asked to end gave its job back"]
    harms = ", ".join(f"{name} {times}" for name, times in sorted(harm.done.items()))
    answers = {**{str(status): times for status, times in submitter.statuses.items()}, **submitter.cut}
    told = f"all: {harms}; answers {answers}; explanations and polls {dict(asked)}"
    figures: dict[str, float] = {"seconds": round(seconds, 1), "faults": harm.done.total(), "jobs": len(sent)}
    figures |= {"waits": waits, "drained": drained, "deploys_at_work": harm.deploys_at_work}
    yield _about_all(told, wrong, len(sent), row=course.row, seed=seed, figures=figures)
    if len(sent) < ENOUGH_JOBS or seconds < ENOUGH_S:
        return
    grown = [text for leaks in watched for text in leaks.faults()]
    more = {name: figure for leaks in watched for name, figure in leaks.figures().items()}
    yield _about_all("memory and file descriptors", grown, len(sent) + 1, row=course.row, seed=seed, figures=more)


def unexpected(book: Book) -> list[str]:
    """Say why a job went back to the queue where no fault on purpose explains it, such as an engine not waited for."""
    return [f"put back because {reason}" for reason in book.reasons() if not reason.startswith(EXPECTED)]


def _judge(plant: Plant, course: Course, job: str, *, may_be_cancelled: bool, number: int, seed: int) -> Trial:
    try:
        book = book_of(plant, job)
    except RltError as error:
        return _about_all("job", [f"{job}: {error}"], number, row=course.row, seed=seed)
    wrong = [*book.faults(save_every=course.save_every), *unexpected(book)]
    if book.job.status != "succeeded" and not (may_be_cancelled and book.job.status == "cancelled"):
        wrong.append(f"it {book.job.status}: {book.job.error}")
    figures: dict[str, float] = {
        "attempts": book.job.attempt,
        "waits": book.waits(),
        "drained": book.reasons().count(DRAINED),
    }
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
