"""Own the harm that is done at random to a plant: whom it hits, how often each, and what it did."""

import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable

import psutil
import redis

from benchmarks.reliability.plant import Plant
from rlt_core.errors import JobStateError
from rlt_service.jobs.broker import broker_folders


class Harm:
    """Does one harmful thing after another."""

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
