"""All faults at random over thousands of stub jobs: what was acknowledged is done once, and nothing grows."""

import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import redis

from benchmarks.reliability.leaks import Leaks
from benchmarks.reliability.ledger import book_of
from benchmarks.reliability.parts import stub_plant
from benchmarks.reliability.plant import Plant, wait_for
from benchmarks.reliability.trial import Trial
from rlt_core.errors import JobStateError, RltError
from rlt_service.jobs.broker import broker_folders

WORKERS = 10
AHEAD = 60
"""Jobs that wait or run at any time."""
BETWEEN_S = (0.3, 1.2)
ROW = "chaos"


@dataclass(slots=True)
class Submitter:
    """Sends jobs, each under a key of its own, until the service has acknowledged it, whatever happens meanwhile."""

    plant: Plant
    count: int
    seed: int
    acknowledged: list[str] = field(default_factory=list[str])
    statuses: Counter[str] = field(default_factory=Counter[str])

    def run(self) -> None:
        """Send them all, never more ahead of the workers than AHEAD."""
        chance = random.Random(self.seed)
        with httpx.Client(timeout=10.0) as client:
            for number in range(self.count):
                while sum(self.plant.jobs.counts().get(status, 0) for status in ("queued", "running")) >= AHEAD:
                    time.sleep(0.1)
                steps = chance.choice(("steps=1", "steps=1", "steps=2", "steps=6 step_s=0.1"))
                self.acknowledged.append(self._send(client, f"{steps} number={number}", key=f"{self.seed}-{number}"))

    def _send(self, client: httpx.Client, name: str, *, key: str) -> str:
        body = self.plant.warmup(name).model_dump(mode="json", exclude_unset=True)
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


class Chaos:
    """Does one harmful thing after another to a plant."""

    def __init__(self, plant: Plant, *, seed: int) -> None:
        self._plant = plant
        self._chance = random.Random(seed)
        self._veterans = {plant.workers[0].pid}
        """Never killed: memory is watched on them."""
        self.cancelled: set[str] = set()
        self.done: Counter[str] = Counter()
        self._faults: dict[str, tuple[int, Callable[[], None]]] = {
            "kill worker": (4, self._kill_worker),
            "kill trainer": (6, self._kill_trainer),
            "stop worker": (2, self._stop_worker),
            "kill control": (1, self._kill_control),
            "kill broker": (1, self._kill_broker),
            "flush broker": (1, self._flush_broker),
            "hold the database": (1, self._hold_database),
            "cancel": (4, self._cancel),
            "pause and resume": (2, self._pause),
        }

    def strike(self) -> None:
        """Do one of them, by weight."""
        names = list(self._faults)
        name = self._chance.choices(names, weights=[self._faults[name][0] for name in names])[0]
        self._faults[name][1]()
        self.done[name] += 1

    def _kill_worker(self) -> None:
        self._plant.kill(self._chance.choice(self._mortal()))
        self._plant.start_worker()

    def _kill_trainer(self) -> None:
        below = [child for worker in self._plant.workers for child in _children(worker.pid)]
        if below:
            _kill(self._chance.choice(below).pid)

    def _stop_worker(self) -> None:
        worker = self._chance.choice(self._mortal())
        self._plant.stop_between_writes(worker)
        resume = threading.Timer(self._chance.uniform(1.0, 6.0), _continue, [worker.pid])
        resume.daemon = True
        resume.start()

    def _kill_control(self) -> None:
        self._plant.kill(self._plant.controls[0])
        self._plant.start_control()

    def _kill_broker(self) -> None:
        pid = self._plant.broker.pid
        if pid is not None:
            _kill(pid)
        time.sleep(self._chance.uniform(0.0, 1.0))
        self._plant.broker.start()

    def _flush_broker(self) -> None:
        socket = str(broker_folders(self._plant.home).socket)
        with redis.Redis(unix_socket_path=socket, socket_timeout=5.0) as client:
            client.flushall()

    def _hold_database(self) -> None:
        lock = sqlite3.connect(self._plant.home / "rlt.db", timeout=30.0, isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        time.sleep(self._chance.uniform(0.1, 1.0))
        lock.execute("ROLLBACK")
        lock.close()

    def _some_job(self) -> str | None:
        alive = [job for status in ("running", "queued") for job in self._plant.jobs.list(status=status, limit=50).data]
        return self._chance.choice(alive).id if alive else None

    def _cancel(self) -> None:
        job = self._some_job()
        if job is not None:
            try:
                self._plant.jobs.cancel(job)
                self.cancelled.add(job)
            except JobStateError:
                return  # it has ended meanwhile

    def _pause(self) -> None:
        job = self._some_job()
        if job is not None:
            try:
                self._plant.jobs.pause(job)
                time.sleep(0.2)
                self._plant.jobs.resume(job)
            except JobStateError:
                return  # it has ended, or is being cancelled

    def _mortal(self) -> list[subprocess.Popen[bytes]]:
        return [worker for worker in self._plant.workers if worker.pid not in self._veterans]


def trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Send `count` jobs through a plant that is harmed all the time; each job is a trial, and so is what grew."""
    plant = stub_plant(folder / "home")
    began_s = time.monotonic()
    try:
        plant.start(workers=WORKERS)
        chaos, submitter = Chaos(plant, seed=seed), Submitter(plant, count=count, seed=seed)
        sending = threading.Thread(target=submitter.run, daemon=True)
        sending.start()
        watched = [Leaks("the veteran worker", psutil.Process(plant.workers[0].pid))]
        pause = random.Random(seed + 1)
        while sending.is_alive():
            time.sleep(pause.uniform(*BETWEEN_S))
            chaos.strike()
            _restart_dead(plant)
            for leaks in watched:
                leaks.look()
        _settle(plant)
        yield from _judged(plant, chaos, submitter, watched, seed=seed, seconds=time.monotonic() - began_s)
    finally:
        left = plant.end()
    yield _about_all("processes left", [str(process.pid) for process in left], number=count + 2, seed=seed)


def _restart_dead(plant: Plant) -> None:
    """Start again what ended by itself, as a process manager would."""
    for worker in [worker for worker in plant.workers if worker.poll() is not None]:
        plant.workers.remove(worker)
        plant.start_worker()
    if plant.controls[0].poll() is not None:
        plant.controls.clear()
        plant.start_control()


def _settle(plant: Plant) -> None:
    """Wait for the end of all that was sent, without more harm; a pause that came late is taken back."""

    def has_settled() -> bool:
        for job in plant.jobs.list(status="paused", limit=100).data:
            plant.jobs.resume(job.id)
        counts = plant.jobs.counts()
        return not any(counts.get(status) for status in ("queued", "running", "paused"))

    wait_for(has_settled, what="every job has ended", timeout_s=900.0)


def _judged(
    plant: Plant, chaos: Chaos, submitter: Submitter, watched: list[Leaks], *, seed: int, seconds: float
) -> Iterator[Trial]:
    sent = submitter.acknowledged
    for number, job in enumerate(sent):
        yield _judge(plant, job, may_be_cancelled=job in chaos.cancelled, number=number, seed=seed)
    stored = sum(plant.jobs.counts().values())
    wrong = [] if len(set(sent)) == stored else [f"{len(set(sent))} acknowledged, {stored} stored"]
    harms = ", ".join(f"{name} {times}" for name, times in sorted(chaos.done.items()))
    figures = {"seconds": round(seconds, 1), "faults": chaos.done.total(), "jobs": len(sent)}
    yield _about_all(f"all: {harms}; answers {dict(submitter.statuses)}", wrong, len(sent), seed=seed, figures=figures)
    grown = [text for leaks in watched for text in leaks.faults()]
    memory, descriptors = watched[0].growth() if len(watched[0].memory_mib) > 5 else (0.0, 0.0)
    more = {"memory_growth": round(memory, 3), "more_descriptors": descriptors}
    yield _about_all("memory and file descriptors", grown, len(sent) + 1, seed=seed, figures=more)


def _judge(plant: Plant, job: str, *, may_be_cancelled: bool, number: int, seed: int) -> Trial:
    try:
        book = book_of(plant, job)
    except RltError as error:
        return _about_all("job", [f"{job}: {error}"], number, seed=seed)
    wrong = book.faults(save_every=1)
    if book.job.status != "succeeded" and not (may_be_cancelled and book.job.status == "cancelled"):
        wrong.append(f"it {book.job.status}: {book.job.error}")
    return _about_all("job", wrong, number, seed=seed, figures={"attempts": book.job.attempt})


def _about_all(
    fault: str, wrong: list[str], number: int, *, seed: int, figures: dict[str, float] | None = None
) -> Trial:
    return Trial(
        row=ROW,
        number=number,
        seed=seed,
        fault=fault,
        passed=not wrong,
        seconds=0.0,
        detail="; ".join(wrong),
        figures=figures or {},
    )


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _continue(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return
