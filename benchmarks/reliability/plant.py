"""Own an installation made of real processes, on a folder of its own: control, broker, workers; all can be killed."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
import psutil
from sqlalchemy import text

from benchmarks.reliability.engine_mark import MARK
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.jobs import TERMINAL, AnySpec, Job, RlSpec, WarmupSpec
from rlt_service.jobs.broker import EmbeddedValkey
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.database import Database
from rlt_service.store.jobs import JobStore
from rlt_service.store.registry import Registry

LEASE_S = 3.0
HEARTBEAT_S = 0.5
RECONCILE_S = 0.5
CANCEL_GRACE_S = 2.0
LOOK_S = 0.02
WORKER_LOG = "worker.log"
WAIT_S = 120.0
PORTS_FROM = 10_000
PORTS_OF_CONNECTIONS = Path("/proc/sys/net/ipv4/ip_local_port_range")
TAIL_CHARACTERS = 700
"""Of a log, in the message of a failure: a trial keeps 1,000 in all."""
FoundT = TypeVar("FoundT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What serves: a module that is run as `python -m`, and the kind of its engine."""

    module: str = "rlt_service"
    engine: str = "fake"


class Plant:
    """One installation. What is killed stays dead until it is started again, as without a process manager."""

    def __init__(
        self,
        home: Path,
        *,
        trainer_command: Sequence[str],
        base_model: Path,
        environment: Mapping[str, str] | None = None,
        serving: Serving | None = None,
        database_url: str | None = None,
    ) -> None:
        """Take the state folder, what workers start for a job, the base's folder, more variables for every process.

        The database is SQLite's in that folder, unless a URL names a Postgres.
        """
        self.home = home
        self.port = free_port()
        self.workers: list[subprocess.Popen[bytes]] = []
        self.controls: list[subprocess.Popen[bytes]] = []
        self.leaving: list[subprocess.Popen[bytes]] = []
        """Asked to end, and perhaps not gone yet."""
        self.unharmed: list[subprocess.Popen[bytes]] = []
        """Control services that no fault is done to."""
        self.database = Database(database_url or f"sqlite:///{home / 'rlt.db'}")
        self.artifacts = ArtifactStore(home / "artifacts")
        self.jobs = JobStore(self.database)
        self.registry = Registry(self.database, self.artifacts)
        self.broker = EmbeddedValkey(home)
        self.dataset = ""
        self._trainer_command = list(trainer_command)
        self._base_model = base_model
        self._more = dict(environment or {})
        self._serving = serving or Serving()

    @property
    def address(self) -> str:
        """Where its control service answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, *, workers: int, rows: Sequence[DatasetRow] = ()) -> None:
        """Start control, broker and workers, and store a dataset."""
        self.home.mkdir(parents=True, exist_ok=True)
        self.database.start()
        self.broker.start()
        self.start_control()
        self.wait_ready()
        self.store_dataset(rows)
        for _ in range(workers):
            self.start_worker()

    def store_dataset(self, rows: Sequence[DatasetRow] = ()) -> None:
        """Upload what its jobs are of, some sums where no rows are given."""
        wanted = rows or [
            DatasetRow(question=f"{n} + 1?", solution=f"It is {n + 1}.", reasoning_trace=f"{n} + 1 = {n + 1}.")
            for n in range(8)
        ]
        body = "".join(row.model_dump_json(exclude_none=True) + "\n" for row in wanted)
        answer = httpx.post(
            f"{self.address}/v1/datasets", content=body, headers={"content-type": "application/x-ndjson"}, timeout=30.0
        )
        self.dataset = answer.raise_for_status().json()["id"]

    def start_control(self, *, roles: str = "teacher,student,control", port: int | None = None) -> None:
        """Start a control service; with the other roles it has an engine."""
        port = port or self.port
        command = [sys.executable, "-m", self._serving.module, "--port", str(port), "--roles", roles]
        self.controls.append(self._start(command, log=_control_log(port)))

    def start_unharmed_control(self) -> str:
        """Start one more control service, without an engine, that is left alone; give its address once it answers."""
        port = free_port()
        self.start_control(roles="control", port=port)
        self.unharmed.append(self.controls.pop())
        self.wait_ready(port=port)
        return f"http://127.0.0.1:{port}"

    def start_worker(self) -> subprocess.Popen[bytes]:
        """Start a worker; gives its process at once."""
        worker = self._start([sys.executable, "-m", "rlt_service.jobs.worker"], log=WORKER_LOG)
        self.workers.append(worker)
        return worker

    def is_ready(self) -> bool:
        """Whether its control service and engine answer."""
        return _answers(f"{self.address}/readyz")

    def engine_processes(self) -> list[psutil.Process]:
        """List the living processes of a stand-in engine: they are below the control service."""
        try:
            below = psutil.Process(self.controls[0].pid).children(recursive=True) if self.controls else []
        except psutil.NoSuchProcess:
            return []
        return [process for process in below if MARK in _words(process)]

    def wait_ready(self, *, port: int | None = None) -> None:
        """Wait until a control service answers; raises TimeoutError with the last that it said."""
        port = port or self.port
        try:
            wait_for(lambda: _answers(f"http://127.0.0.1:{port}/healthz"), what=f"control answers on port {port}")
        except TimeoutError as error:
            ended = [one.returncode for one in [*self.controls, *self.unharmed] if one.poll() is not None]
            said = (self.home / _control_log(port)).read_text(encoding="utf-8", errors="replace")
            raise TimeoutError(
                f"{error}; exit codes of those that ended: {ended}; it said: {said[-TAIL_CHARACTERS:]}"
            ) from error

    def submit(self, spec: AnySpec) -> Job:
        """Submit over HTTP; raises httpx.HTTPError where that fails."""
        body = spec.model_dump(mode="json", exclude_unset=True)
        answer = httpx.post(f"{self.address}/v1/train", json=body, timeout=30.0)
        return Job.model_validate(answer.raise_for_status().json())

    def warmup(self, name: str, **fields: object) -> WarmupSpec:
        """Make a spec whose name tells a stub what to do."""
        spec = {"kind": "warmup", "role": "teacher", "dataset": self.dataset, "target_name": "chaos", "name": name}
        return WarmupSpec.model_validate(spec | fields)

    def promoted(self, name: str, *, number: int) -> RlSpec:
        """Make a spec of the same kind, whose result gets an alias that no other job moves."""
        promote = {"alias": f"own-{number}", "when": "always"}
        spec = {"kind": "rl", "dataset": self.dataset, "target_name": "chaos", "name": name, "promote": promote}
        return RlSpec.model_validate(spec)

    def has_ended(self, job_id: str) -> bool:
        """Whether nothing more happens to a job."""
        return self.jobs.get(job_id).status in TERMINAL

    def pids_of(self, job_id: str, attempt: int) -> list[int]:
        """Give the processes that an attempt's stub wrote down."""
        path = self.artifacts.attempt_dir(job_id, attempt) / "pids"
        try:
            return [int(pid) for pid in path.read_text().split()]
        except FileNotFoundError:
            return []

    def trainers_of(self, job_id: str) -> set[int]:
        """Give the living processes that have a job's folder on their command line, whichever attempt's."""
        mark = str(self.home / "artifacts" / "jobs" / job_id)
        return {process.pid for process in self.processes() if any(mark in word for word in _words(process))}

    def worker_of(self, job: Job) -> subprocess.Popen[bytes] | None:
        """Find the process of ours that runs a job."""
        wanted = self.worker_pid_of(job)
        return next((worker for worker in self.workers if worker.pid == wanted), None)

    def worker_pid_of(self, job: Job) -> int | None:
        """Give the process that runs a job, or ran it last."""
        events = self.jobs.events(job.id, types=("started",))
        return int(str(events[-1].data["worker"]).rpartition(":")[2]) if events else None

    def said_by_workers(self) -> str:
        """Read what all workers have logged."""
        return (self.home / WORKER_LOG).read_text(encoding="utf-8", errors="replace")

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Send SIGKILL and reap."""
        process.kill()
        process.wait()
        for processes in (self.workers, self.controls):
            if process in processes:
                processes.remove(process)

    def retire(self, process: subprocess.Popen[bytes]) -> None:
        """Send SIGTERM, as a deploy does; it is no longer one of ours, but ended with the rest where it stays."""
        self.leaving.append(process)
        for processes in (self.workers, self.controls):
            if process in processes:
                processes.remove(process)
        process.terminate()

    def freeze(self, worker: subprocess.Popen[bytes]) -> None:
        """Send SIGSTOP: on Postgres wherever the worker is, even where it holds rows that others wait for.

        On SQLite between two writes: frozen with the one lock, it would stop everybody.
        """
        with nullcontext() if self._is_on_postgres else self.held_database():
            worker.send_signal(signal.SIGSTOP)
            wait_for(lambda: psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED, what="it stands still")

    @contextmanager
    def held_database(self) -> Generator[None]:
        """Let nobody else write to a job, or claim one, while the block runs."""
        # On SQLite any statement will do: the transaction itself is the one write lock.
        hold = "LOCK TABLE jobs IN EXCLUSIVE MODE" if self._is_on_postgres else "SELECT 1"
        with self.database.transaction() as session:
            session.execute(text(hold))
            yield

    @property
    def _is_on_postgres(self) -> bool:
        return not self.database.url.startswith("sqlite")

    def end(self) -> list[psutil.Process]:
        """End everything; give what is left of it, which should be nothing."""
        for process in [*self.workers, *self.controls, *self.leaving, *self.unharmed]:
            process.kill()
            process.wait()
        self.broker.stop()
        self.database.close()
        deadline_s = time.monotonic() + 10.0
        while (left := self.processes()) and time.monotonic() < deadline_s:
            time.sleep(0.1)
        for process in left:
            process.kill()
        return left

    def processes(self) -> list[psutil.Process]:
        """List living processes that carry the state folder in command line or environment, this one apart."""
        return [process for process in psutil.process_iter() if process.pid != os.getpid() and self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            words = [*process.cmdline(), process.environ().get("RLT_HOME", ""), process.cwd()]
        except (psutil.Error, OSError):
            return False
        return any(str(self.home) in word for word in words)

    def _start(self, command: Sequence[str], *, log: str) -> subprocess.Popen[bytes]:
        with (self.home / log).open("ab") as output:
            return subprocess.Popen(
                command, env=self._environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )

    def _environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            "RLT_HOME": str(self.home),
            "RLT_DATABASE_URL": self.database.url,
            "RLT_ENGINE": self._serving.engine,
            "RLT_BASE_MODEL": str(self._base_model),
            "RLT_SERVICE_URL": self.address,
            "RLT_BROKER_URL": self.broker.url,
            "RLT_LEASE_S": str(LEASE_S),
            "RLT_HEARTBEAT_S": str(HEARTBEAT_S),
            "RLT_RECONCILE_S": str(RECONCILE_S),
            "RLT_CANCEL_GRACE_S": str(CANCEL_GRACE_S),
            # Faults on purpose hit one job many times in a row: that must not end it.
            "RLT_MAX_CRASHES": "100",
            "RLT_TRAINER_COMMAND": json.dumps(self._trainer_command),
            "OMP_NUM_THREADS": "1",
            **self._more,
        }


def wait_for(found: Callable[[], FoundT], *, what: str, timeout_s: float = WAIT_S) -> FoundT:
    """Look until something truthy is found; raises TimeoutError that names it."""
    deadline_s = time.monotonic() + timeout_s
    while not (seen := found()):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"waited {timeout_s:.0f} s until {what}")
        time.sleep(LOOK_S)
    return seen


def is_gone(pid: int) -> bool:
    """Whether a process has ended; a zombie has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def free_port() -> int:
    """Find a port that nobody listens on, and that nobody gets by connecting while the service on it is down.

    Out of the kernel's own range one could be given to any outgoing connection, even to one that asks for this port.
    """
    kept = kept_ports()
    for port in random.SystemRandom().sample(kept, k=min(100, len(kept))):
        if _can_listen(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def kept_ports() -> range:
    """Give the ports below those of outgoing connections (Linux); none where that range begins lower."""
    try:
        first = int(PORTS_OF_CONNECTIONS.read_text(encoding="ascii").split()[0])
    except OSError:
        return range(0)
    return range(PORTS_FROM, first)


def _can_listen(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _control_log(port: int) -> str:
    return f"control-{port}.log"


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2.0).status_code == 200
    except httpx.HTTPError:
        return False
