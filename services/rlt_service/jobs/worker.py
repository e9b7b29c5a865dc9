"""Own the worker process: `python -m rlt_service.jobs.worker` hears bells and supervises one job at a time.

The pool is `solo`: the supervisor runs in the worker's main thread. A forked pool would add a process that outlives a
killed parent and goes on beating, and REMAP_SIGTERM with a soft shutdown would wait in a signal handler for the very
thread that it interrupts. Here SIGTERM sets the drain flag, the trainer saves, the job goes back to the queue.
"""

import logging
import os
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

from celery import signals  # pyright: ignore[reportMissingTypeStubs] - celery carries no types

from rlt_core import spans
from rlt_core.errors import RltError, UnavailableError
from rlt_core.schemas.base import Role
from rlt_service.artifact_root import artifacts_of
from rlt_service.bases import model_reference
from rlt_service.jobs.bell import Bell, CeleryBell
from rlt_service.jobs.broker import EmbeddedValkey
from rlt_service.jobs.celery_app import TASK, make_celery
from rlt_service.jobs.completion import Completion
from rlt_service.jobs.preparation import Preparation
from rlt_service.jobs.reconciler import Reconciler
from rlt_service.jobs.strays import Strays
from rlt_service.jobs.supervisor import Drain, Supervisor
from rlt_service.jobs.trainer_process import become_subreaper, default_trainer_command
from rlt_service.launch.state_folder import StateFolder
from rlt_service.logs import set_up_logs
from rlt_service.settings import Settings
from rlt_service.store.database import Database
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.jobs import JobStore
from rlt_service.store.keys import KeyStore
from rlt_service.store.measured import MeasuredStore
from rlt_service.store.outbox import Outbox
from rlt_service.store.registry import Registry
from rlt_service.store.retention import Retention

LOGGER = logging.getLogger(__name__)

ARGUMENTS = (
    "--quiet",  # no banner among the records
    "worker",
    "--pool=solo",
    "--concurrency=1",
    "--without-gossip",
    "--without-mingle",
    "--without-heartbeat",
)


def work(jobs: JobStore, *, supervisor: Supervisor, drain: Drain, bell: Bell, worker: str, queue: str) -> int:
    """Claim and run rows until none waits; return how many were run.

    A worker whose own surroundings are at fault stops claiming: the next bell finds it, or a sound one.
    """
    count = 0
    while not drain.requested and (claimed := jobs.claim(queue=queue, worker=worker)) is not None:
        LOGGER.info("claimed %s, attempt %d", claimed.job.id, claimed.attempt)
        count += 1
        _wake_another(jobs, bell, queue)
        if supervisor.run(claimed) == "unfit":
            break
    return count


def _wake_another(jobs: JobStore, bell: Bell, queue: str) -> None:
    """One bell wakes one worker, who is busy from here on: ring for what else waits."""
    try:
        if jobs.waits(queue) and not bell.sounding(queue):
            bell.ring(queue)
    except UnavailableError as error:
        LOGGER.warning("%s", error)  # the reconciler rings later


def serve(settings: Settings) -> None:
    """Run until asked to end; raises RltError when it cannot start."""
    become_subreaper()
    set_up_logs(settings.log_format)
    spans.set_up("rlt-worker", endpoint=settings.traces_to)
    # Celery leaves logging alone where somebody answers this.
    setting_up: Any = signals.setup_logging
    setting_up.connect(_leave_as_it_is, weak=False)
    StateFolder(settings.home).use()
    database = Database(settings.database)
    database.start()
    jobs = JobStore(database, settings.job_rules)
    celery = make_celery(settings)
    bell = CeleryBell(celery)
    artifacts = artifacts_of(settings)
    reconciler = Reconciler(
        settings,
        jobs=jobs,
        outbox=Outbox(database),
        bell=bell,
        artifacts=artifacts,
        retention=Retention(database, artifacts),
        strays=Strays(settings.home, jobs),
    )
    if settings.broker_url is None:
        EmbeddedValkey(settings.home).start()
    drain = Drain()
    supervisor = make_supervisor(settings, database=database, jobs=jobs, drain=drain)
    name = f"{socket.gethostname()}:{os.getpid()}"

    def hear(queue: str) -> None:
        work(jobs, supervisor=supervisor, drain=drain, bell=bell, worker=name, queue=queue)

    def stop(**_: Any) -> None:
        drain.requested = True
        # Celery 5.7 takes a second Ctrl-C for a cold shutdown, which raises NotImplementedError into the supervisor,
        # since a solo pool can end no task. There is nothing more to ask for: it drains.
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    celery.task(name=TASK)(hear)
    shutting_down: Any = signals.worker_shutting_down
    shutting_down.connect(stop, weak=False)
    reconciler.start()
    try:
        celery.worker_main(
            [*ARGUMENTS, f"--queues={','.join(settings.worker_queues)}", f"--hostname=rlt-{os.getpid()}@%h"]
        )
    finally:
        reconciler.stop()
        database.close()


def _leave_as_it_is(**_: Any) -> None:
    pass


def make_supervisor(settings: Settings, *, database: Database, jobs: JobStore, drain: Drain) -> Supervisor:
    """Wire a supervisor to the stores."""
    artifacts = artifacts_of(settings)
    datasets = DatasetStore(database, artifacts)
    registry = Registry(database, artifacts)
    return Supervisor(
        settings=settings,
        jobs=jobs,
        keys=KeyStore(database),
        preparation=Preparation(
            settings=settings, jobs=jobs, datasets=datasets, registry=registry, artifacts=artifacts
        ),
        completion=Completion(
            settings=settings, jobs=jobs, datasets=datasets, registry=registry, measured=MeasuredStore(database)
        ),
        resolve_base=partial(_resolve_base, settings),
        trainer_command=settings.trainer_command or default_trainer_command(),
        drain=drain,
    )


def _resolve_base(settings: Settings, role: Role) -> Path:
    # Imported when a job needs it: reading model files costs more than the whole worker.
    from rlt_service.engine.models import resolve_model

    return resolve_model(model_reference(settings, role), state_folder=settings.home)


def main() -> int:
    """Run a worker with the settings of the environment."""
    try:
        serve(Settings())
    except RltError as error:
        print(f"rlt worker: {error}", file=sys.stderr)  # noqa: T201 - the last word of a command
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
