"""An installation without engine and HTTP: stores on a folder, the stub trainer, a supervisor on demand."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.jobs import QUEUE, Job, RlSpec, WarmupSpec
from rlt_service.jobs.completion import Completion
from rlt_service.jobs.preparation import Preparation
from rlt_service.jobs.supervisor import Drain, Supervisor
from rlt_service.settings import Settings
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.database import Database
from rlt_service.store.datasets import DatasetStore
from rlt_service.store.jobs import JobStore
from rlt_service.store.keys import KeyStore
from rlt_service.store.measured import MeasuredStore
from rlt_service.store.outbox import Outbox
from rlt_service.store.registry import Registry
from rlt_service.store.retention import Retention
from tests.engine.model_files import write_model
from tests.support.schema import lay_schema

STUB = Path(__file__).with_name("stub_trainer.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """An installation's stores on a folder, with one dataset."""

    settings: Settings
    database: Database
    jobs: JobStore
    artifacts: ArtifactStore
    datasets: DatasetStore
    registry: Registry
    retention: Retention
    outbox: Outbox
    dataset: str

    def submit(self, name: str, **fields: object) -> Job:
        """Submit a warm-up whose stub trainer does what `name` says."""
        spec = {"kind": "warmup", "role": "teacher", "dataset": self.dataset, "target_name": "algebra", "name": name}
        return self.jobs.submit(WarmupSpec.model_validate(spec | fields))

    def submit_rl(self, name: str, **fields: object) -> Job:
        spec = {"kind": "rl", "dataset": self.dataset, "target_name": "algebra", "name": name}
        return self.jobs.submit(RlSpec.model_validate(spec | fields))

    def supervisor(
        self, *, drain: Drain | None = None, handler: Callable[..., httpx.Response] | None = None
    ) -> Supervisor:
        """Make a supervisor in this process; `handler` plays the HTTP service."""
        transport = httpx.MockTransport(handler) if handler is not None else None
        return Supervisor(
            settings=self.settings,
            jobs=self.jobs,
            keys=KeyStore(self.database),
            preparation=Preparation(
                settings=self.settings,
                jobs=self.jobs,
                datasets=self.datasets,
                registry=self.registry,
                artifacts=self.artifacts,
            ),
            completion=Completion(
                settings=self.settings,
                jobs=self.jobs,
                datasets=self.datasets,
                registry=self.registry,
                measured=MeasuredStore(self.database),
                transport=transport,
            ),
            resolve_base=lambda _: self.settings.home,
            trainer_command=self.settings.trainer_command,
            drain=drain or Drain(),
        )

    def run_one(self, supervisor: Supervisor | None = None) -> Job:
        """Claim the next job and run it in this process; return how it stands then."""
        claimed = self.jobs.claim(queue=QUEUE, worker="test")
        assert claimed is not None
        (supervisor or self.supervisor()).run(claimed)
        return self.jobs.get(claimed.job.id)

    def event_types(self, job_id: str) -> list[str]:
        return [event.type for event in self.jobs.events(job_id)]

    def trainer_pids(self, job_id: str, attempt: int) -> list[int]:
        path = self.artifacts.attempt_dir(job_id, attempt) / "pids"
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []


def gone(pids: list[int]) -> bool:
    """Whether none of the processes runs; a zombie does not."""
    return all(not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE for pid in pids)


def stub_environment(folder: Path) -> dict[str, str]:
    """Give what lets an `rlt up` train with the stub, on a base for which nothing is converted."""
    base = write_model(folder / "base")
    (base / "tokenizer.json").write_text("{}")
    return {"RLT_TRAINER_COMMAND": json.dumps([sys.executable, str(STUB)]), "RLT_BASE_MODEL": str(base)}


def make_site(home: Path, *, database_url: str | None = None) -> Site:
    settings = Settings(
        home=home,
        database_url=database_url or lay_schema(home),
        service_url="http://service.test",
        lease_s=1.5,
        heartbeat_s=0.2,
        reconcile_s=0.2,
        cancel_grace_s=0.5,
        trainer_command=(sys.executable, str(STUB)),
        base_model=str(home),
    )
    database = Database(settings.database)
    database.start()
    artifacts = ArtifactStore(settings.artifacts)
    datasets = DatasetStore(database, artifacts)
    registry = Registry(database, artifacts)
    registry.ensure_base(name="tiny", base_model="tiny-model", format="stratos@1")
    with artifacts.incoming_file() as path:
        path.write_text(DatasetRow(question="1+1?", solution="2").model_dump_json() + "\n")
        dataset = datasets.create(
            name="sums", path=path, rows=1, sha256="0" * 64, columns=["question", "solution"], size_bytes=1
        )
    return Site(
        settings=settings,
        database=database,
        jobs=JobStore(database, settings.job_rules),
        artifacts=artifacts,
        datasets=datasets,
        registry=registry,
        retention=Retention(database, artifacts),
        outbox=Outbox(database),
        dataset=dataset.id,
    )
