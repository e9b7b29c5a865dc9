"""Own the harm that is done at random to a plant: whom it hits, how often each, and what it did."""

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable

import psutil
import redis

from benchmarks.reliability.broker_faults import tear_file
from benchmarks.reliability.deck import Deck
from benchmarks.reliability.deploys import Deploys
from benchmarks.reliability.plant import Plant, wait_for
from rlt_core.errors import JobStateError
from rlt_service.jobs.broker import broker_folders

ROUNDS_TO_HIT = 2
"""Rounds of the deck in which every fault must have found something to harm."""
LOOKS_FOR_S = 5.0
"""How long something to harm is looked for: a worker that trains, an engine that is up, a job that is not over."""
LOOKS_EVERY_S = 0.1


class Harm:
    """Does one harmful thing after another."""

    def __init__(self, plant: Plant, *, seed: int) -> None:
        self._plant = plant
        self._chance = random.Random(seed)
        self._veterans = {plant.workers[0].pid}
        """Never killed: memory is watched on them."""
        self.cancelled: set[str] = set()
        self.done: Counter[str] = Counter()
        self.engine_deaths: Counter[int] = Counter()
        """By the control service that they befell."""
        self.deploys = Deploys(plant)
        self.deploys_at_work = 0
        """Of workers that trained."""
        self.turns: dict[str, tuple[int, Callable[[], bool]]] = {
            # A worker is its job's supervisor: one process.
            "kill worker": (4, self._kill_worker),
            "kill trainer": (6, self._kill_trainer),
            "stop worker": (2, self._stop_worker),
            "kill control": (1, self._kill_control),
            "stop control": (1, self._stop_control),
            "kill engine": (2, self.kill_engine),
            "deploy worker": (4, self._deploy_worker),
            "deploy control": (1, self._deploy_control),
            "kill broker": (1, self._kill_broker),
            "tear the broker's file": (1, self._tear_broker),
            "flush broker": (1, self._flush_broker),
            "hold the database": (1, self._hold_database),
            "cancel": (4, self._cancel),
            "pause and resume": (2, self._pause),
        }
        """How often each has its turn in a round, and what it does: true where it harmed something."""
        self._deck = Deck({name: weight for name, (weight, _) in self.turns.items()}, seed=seed)
        self._strikes = 0

    @property
    def round(self) -> int:
        """Strikes of a round, in which every fault has its turns."""
        return len(self._deck)

    def strike(self) -> None:
        """Do one of them, by weight, as soon as it finds something to harm; counted where it did."""
        name = self._deck.deal()
        self._strikes += 1
        deadline_s = time.monotonic() + LOOKS_FOR_S
        while not (harmed := self.turns[name][1]()) and time.monotonic() < deadline_s:
            time.sleep(LOOKS_EVERY_S)
        self.done[name] += harmed

    def faults(self) -> list[str]:
        """Say what was wrong with deploys, and what no trial was made of although its turn came often."""
        rounds = self._strikes // self.round
        idle = [name for name in self.turns if rounds >= ROUNDS_TO_HIT and not self.done[name]]
        return [*self.deploys.wrong, *(f"{name}: nothing was harmed in {rounds} rounds" for name in idle)]

    def kill_engine(self) -> bool:
        """Kill the engine's process below the control service; none is there while that starts."""
        engine = self._plant.engine_processes()
        killed = bool(engine) and _kill(engine[0].pid)
        self.engine_deaths[self._plant.controls[0].pid] += killed
        return killed

    def _deploy_worker(self) -> bool:
        worker = self._at_work()
        if worker is not None:
            self.deploys_at_work += 1
        elif awake := self._awake():
            worker = self._chance.choice(awake)
        if worker is not None:
            self.deploys.worker(worker)
        return worker is not None

    def _awake(self) -> list[subprocess.Popen[bytes]]:
        return [worker for worker in self._mortal() if not _is_stopped(worker.pid)]

    def _at_work(self) -> subprocess.Popen[bytes] | None:
        """Find a worker whose job is between two steps, which has something to lose; None where none is soon."""
        deadline_s = time.monotonic() + LOOKS_FOR_S
        while time.monotonic() < deadline_s:
            running = self._plant.jobs.list(status="running", limit=50).data
            midway = {
                self._plant.worker_pid_of(job) for job in running if 0 < job.progress.step < (job.progress.total or 0)
            }
            if found := [worker for worker in self._awake() if worker.pid in midway]:
                return self._chance.choice(found)
            time.sleep(0.02)
        return None

    def _deploy_control(self) -> bool:
        self.deploys.control()
        return True

    def _kill_worker(self) -> bool:
        self._plant.kill(self._chance.choice(self._mortal()))
        self._plant.start_worker()
        return True

    def _kill_trainer(self) -> bool:
        below = [child for worker in self._plant.workers for child in _children(worker.pid)]
        return bool(below) and _kill(self._chance.choice(below).pid)

    def _stop_worker(self) -> bool:
        self._stop(self._chance.choice(self._mortal()))
        return True

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        """Let it stand still, mostly for longer than a lease."""
        self._plant.freeze(process)
        resume = threading.Timer(self._chance.uniform(1.0, 6.0), _continue, [process.pid])
        resume.daemon = True
        resume.start()

    def _kill_control(self) -> bool:
        self._plant.kill(self._plant.controls[0])
        self._plant.start_control()
        return True

    def _stop_control(self) -> bool:
        self._stop(self._plant.controls[0])
        return True

    def _kill_broker(self) -> bool:
        pid = self._plant.broker.pid
        killed = pid is not None and _kill(pid)
        time.sleep(self._chance.uniform(0.0, 1.0))
        self._plant.broker.start()
        return killed

    def _tear_broker(self) -> bool:
        pid = self._plant.broker.pid
        if pid is None or not _kill(pid):
            return False
        wait_for(lambda: not self._plant.broker.listens(), what="the broker is gone")
        torn = tear_file(self._plant)
        self._plant.broker.start()
        return torn

    def _flush_broker(self) -> bool:
        socket = str(broker_folders(self._plant.home).socket)
        with redis.Redis(unix_socket_path=socket, socket_timeout=5.0) as client:
            client.flushall()
        return True

    def _hold_database(self) -> bool:
        with self._plant.held_database():
            time.sleep(self._chance.uniform(0.1, 1.0))
        return True

    def _some_job(self) -> str | None:
        alive = [job for status in ("running", "queued") for job in self._plant.jobs.list(status=status, limit=50).data]
        return self._chance.choice(alive).id if alive else None

    def _cancel(self) -> bool:
        job = self._some_job()
        if job is None:
            return False
        try:
            self._plant.jobs.cancel(job)
        except JobStateError:
            return False  # it has ended meanwhile
        self.cancelled.add(job)
        return True

    def _pause(self) -> bool:
        job = self._some_job()
        if job is None:
            return False
        try:
            self._plant.jobs.pause(job)
            time.sleep(0.2)
            self._plant.jobs.resume(job)
        except JobStateError:
            return False  # it has ended, or is being cancelled
        return True

    def _mortal(self) -> list[subprocess.Popen[bytes]]:
        return [worker for worker in self._plant.workers if worker.pid not in self._veterans]


def _is_stopped(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _continue(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGCONT)
    except ProcessLookupError:
        return
