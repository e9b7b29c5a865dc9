"""From one release to the next while it serves: the migration first, then both side by side on one database."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url

from rlt_client import APIError, Client
from rlt_core.schemas.jobs import QUEUE, SPEC_VERSION, TERMINAL, WarmupSpec
from rlt_service.jobs.broker import EmbeddedValkey
from rlt_service.settings import Settings
from rlt_service.store.database import Database
from rlt_service.store.migration import MIGRATIONS, newest_schema, schemas_of
from rlt_service.store.new_jobs import new_row
from rlt_service.store.postgres import is_postgres, postgres_engine
from rlt_service.store.readers import OLDEST_READER
from tests.jobs.site import STUB, stub_environment
from tests.support.postgres import postgres_url
from tests.support.previous_release import ROOT, PreviousRelease, previous_release, python_path
from tests.support.server import free_port
from tests.support.waiting import SELDOM_S, wait_until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]

LEASE_S = 3.0
ROWS = [{"question": f"{a} + 1?", "solution": str(a + 1), "reasoning_trace": "Count on."} for a in range(4)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Code of one version: where it lies, and its stub trainer."""

    name: str
    root: Path
    trainer: Sequence[str]


@dataclass(slots=True, kw_only=True)
class Installation:
    """One state folder with one broker, and processes of either release on it."""

    folder: Path
    base: Mapping[str, str]
    broker: EmbeddedValkey
    database_url: str
    address: str = ""
    """Where trainers and supervisors reach a server."""
    started: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def start(self, release: Release, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            **self.base,
            **python_path(release.root),
            "RLT_HOME": str(self.home),
            "RLT_DATABASE_URL": self.database_url,
            "RLT_BROKER_URL": self.broker.url,
            "RLT_SERVICE_URL": self.address,
            "RLT_ENGINE": "fake",
            "RLT_LEASE_S": str(LEASE_S),
            "RLT_HEARTBEAT_S": "0.3",
            "RLT_RECONCILE_S": "0.3",
            "RLT_CANCEL_GRACE_S": "1",
            "RLT_TRAINER_COMMAND": '["' + '","'.join(release.trainer) + '"]',
        }
        with (self.folder / f"{release.name}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=release.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.started.append(process)
        return process

    def start_server(self, release: Release) -> tuple[subprocess.Popen[bytes], str]:
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        self.address = self.address or address
        return self.start(release, "rlt_service", "--port", str(port)), address

    def start_worker(self, release: Release) -> subprocess.Popen[bytes]:
        return self.start(release, "rlt_service.jobs.worker")

    def end(self) -> None:
        for process in self.started:
            process.kill()
            process.wait()
        self.broker.stop()

    def said(self) -> str:
        return "\n".join(f"{log.name}:\n{log.read_text(errors='replace')[-2500:]}" for log in self.folder.glob("*.log"))


@contextlib.contextmanager
def installation(folder: Path, database_url: str | None) -> Generator[Installation]:
    home = folder / "home"
    home.mkdir()
    base = stub_environment(folder)
    broker = EmbeddedValkey(home)
    broker.start()
    made = Installation(
        folder=folder, base=base, broker=broker, database_url=database_url or f"sqlite:///{home / 'rlt.db'}"
    )
    try:
        yield made
    except AssertionError as error:
        raise AssertionError(f"{error}\n{made.said()}") from error
    finally:
        made.end()


def is_ready(address: str) -> bool:
    with Client(address, timeout=5, max_retries=0) as client:
        try:
            return client.ready().status != "not_ready"
        except APIError:
            return False


def schema_of(url: str) -> set[str]:
    parsed = make_url(url)
    engine = postgres_engine(parsed) if is_postgres(parsed) else create_engine(parsed)
    try:
        with engine.connect() as connection:
            return schemas_of(connection)
    finally:
        engine.dispose()


def lay_newer_job(url: str, dataset: str) -> str:
    """Hand in a job whose spec neither release understands."""
    database = Database(url)
    database.start()
    spec = WarmupSpec(kind="warmup", role="teacher", dataset=dataset, target_name="algebra", priority=10)
    with database.transaction() as session:
        row = new_row(spec, queue=QUEUE, owner=None, submitter=None)
        row.spec_version = SPEC_VERSION + 1
        session.add(row)
        session.flush()
        job_id = row.id
    database.close()
    return job_id


def warmup(dataset: str, name: str, **fields: Any) -> dict[str, Any]:
    spec = {"kind": "warmup", "role": "teacher", "dataset": dataset, "target_name": "algebra", "name": name}
    return spec | fields


def wait_for(client: Client, job_id: str, *statuses: str) -> None:
    wait_until(
        lambda: client.jobs.get(job_id).status in statuses, what=f"{job_id} {statuses}", timeout_s=40.0, every_s=0.1
    )


def wait_training(client: Client, job_id: str) -> None:
    def trains() -> bool:
        return client.jobs.get(job_id).progress.step > 0

    wait_until(trains, what=f"{job_id} trains", timeout_s=40.0, every_s=0.1)


def workers_of(client: Client, job_id: str) -> list[int]:
    """Give the processes that ran a job's attempts, one after the other."""
    events = client.jobs.events_after(job_id, limit=500).data
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    return [int(event.data["worker"].rpartition(":")[2]) for event in events if event.type == "started"]


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Release:
    found: PreviousRelease = previous_release(tmp_path_factory.mktemp("older"))
    return Release(name="older", root=found.folder, trainer=found.stub_trainer)


@pytest.fixture(params=["sqlite", "postgres"])
def rolling_url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Give a database without a schema, None for SQLite under the state folder: the older release makes its own."""
    if request.param == "sqlite":
        yield None
        return
    with postgres_url(migrated=False) as url:
        yield url


NEWER = Release(name="newer", root=ROOT, trainer=(sys.executable, str(STUB)))


def test_an_installation_goes_from_the_release_before_to_this_one_and_loses_nothing(
    older: Release, tmp_path: Path, rolling_url: str | None
) -> None:
    with installation(tmp_path, rolling_url) as site:
        old_server, old_address = site.start_server(older)
        wait_until(lambda: is_ready(old_address), what="the older server", timeout_s=60.0, every_s=SELDOM_S)
        old_worker = site.start_worker(older)
        with Client(old_address) as old:
            dataset = old.datasets.create(ROWS).id
            before = old.train(warmup(dataset, "ok")).id
            wait_for(old, before, "succeeded")
            running = old.train(warmup(dataset, "hang-once")).id
            wait_training(old, running)

            # The migration first: while the older ones serve and train.
            assert newest_schema() not in schema_of(site.database_url)
            assert site.start(NEWER, "rlt_client", "keys", "list").wait(timeout=60) == 0
            assert schema_of(site.database_url) == {newest_schema()}
            beyond = lay_newer_job(site.database_url, dataset)

            new_server, new_address = site.start_server(NEWER)
            wait_until(lambda: is_ready(new_address), what="the newer server", timeout_s=60.0, every_s=SELDOM_S)
            with Client(new_address) as new:
                check_side_by_side(site, old, new, dataset=dataset, running=running, old_worker=old_worker)
                old_server.send_signal(signal.SIGTERM)
                assert old_server.wait(timeout=60) in (0, -signal.SIGTERM)
                check_all_is_there(new, before=before, running=running, beyond=beyond)
        assert new_server.poll() is None


def check_side_by_side(
    site: Installation, old: Client, new: Client, *, dataset: str, running: str, old_worker: subprocess.Popen[bytes]
) -> None:
    """See each release work on what the other one handed in, then the newer worker take over from the older one."""
    new.jobs.cancel(running)
    wait_for(old, running, "cancelled")
    assert workers_of(new, running) == [old_worker.pid]

    # Longer than a lease: neither release's watcher takes a pipeline, for which nobody beats, for a lost job.
    steps = [{"id": name, "spec": warmup(dataset, "chatty")} for name in ("one", "two")]
    steps[1]["after"] = ["one"]
    pipeline = new.train({"kind": "pipeline", "steps": steps}).id
    wait_for(old, pipeline, *TERMINAL)
    assert (new.jobs.get(pipeline).status, new.jobs.get(pipeline).attempt) == ("succeeded", 0)

    for submitted_to, read_from in ((old, new), (new, old)):
        job = submitted_to.train(warmup(dataset, "ok")).id
        wait_for(read_from, job, *TERMINAL)
        assert read_from.jobs.get(job).model_dump() == submitted_to.jobs.get(job).model_dump()
        assert (read_from.jobs.get(job).status, workers_of(new, job)) == ("succeeded", [old_worker.pid])

    handed_over = old.train(warmup(dataset, "hang-once")).id
    wait_training(new, handed_over)
    new_worker = site.start_worker(NEWER)
    old_worker.send_signal(signal.SIGTERM)
    assert old_worker.wait(timeout=60) == 0
    wait_for(new, handed_over, *TERMINAL)
    assert workers_of(new, handed_over) == [old_worker.pid, new_worker.pid]
    ended = new.jobs.get(handed_over)
    assert (ended.status, ended.attempt) == ("succeeded", 2)

    from_older = old.train(warmup(dataset, "ok")).id
    wait_for(old, from_older, *TERMINAL)
    assert (old.jobs.get(from_older).status, workers_of(old, from_older)) == ("succeeded", [new_worker.pid])


def check_all_is_there(client: Client, *, before: str, running: str, beyond: str) -> None:
    """See every job end as it should, and every version that one made."""
    jobs = {job.id: job for job in client.jobs.iter()}
    assert jobs[before].status == "succeeded"
    assert [job_id for job_id, job in jobs.items() if job.status == "cancelled"] == [running]
    assert [job_id for job_id, job in jobs.items() if job.status == "queued"] == [beyond]
    assert [job for job in jobs.values() if job.status not in ("succeeded", "cancelled", "queued")] == []
    made = [job.result.teacher for job in jobs.values() if job.kind == "warmup" and job.result is not None]
    assert sorted(name for name in made if name is not None) == [f"algebra@{number}" for number in range(1, 8)]


def test_an_older_process_that_cannot_tell_the_newer_schema_refuses_to_start_and_says_why(
    older: Release, tmp_path: Path
) -> None:
    schemas = [path.name[:4] for path in (older.root / MIGRATIONS.relative_to(ROOT) / "versions").glob("[0-9]*.py")]
    if max(schemas) >= OLDEST_READER:
        pytest.skip("the release before may start on this schema: tests/store/test_newer_rows.py")
    with installation(tmp_path, None) as site:
        settings = Settings(home=site.home)
        database = Database(settings.database)
        database.start()
        database.close()
        assert site.start(older, "rlt_service.jobs.worker").wait(timeout=60) == 1
        assert "written by a newer RLT" in site.said()
        assert schema_of(site.database_url) == {newest_schema()}
