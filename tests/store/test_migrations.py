"""The way of a schema to the newest one, on both databases: from nothing, from each that there was, by many at once."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, inspect, make_url, text

from rlt_core.errors import ConfigurationError
from rlt_core.schemas.jobs import QUEUE
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.database import Database
from rlt_service.store.jobs import JobStore
from rlt_service.store.migration import MIGRATIONS, migration_config, newest_schema
from rlt_service.store.postgres import lock_migrations
from rlt_service.store.registry import Registry
from rlt_service.store.tables import Base
from tests.support.postgres import postgres_url
from tests.support.waiting import wait_until

REVISIONS = [revision.revision for revision in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]
OLDEST_ROWS = (
    "INSERT INTO versions (name, number, role, created_at, base_model, format) "
    "VALUES ('tiny', 0, 'teacher', '2030-01-01', 'tiny-model', 'stratos@1')",
    "INSERT INTO alias_changes (role, alias, version, created_at, reason) "
    "VALUES ('teacher', 'default', 'tiny@0', '2030-01-01', 'long ago')",
    "INSERT INTO aliases (role, alias, version, updated_at) VALUES ('teacher', 'default', 'tiny@0', '2030-01-01')",
    "INSERT INTO jobs (id, kind, queue, status, priority, created_at, attempt, beat, cancel_requested, crashes, "
    "best_step, last_seq, spec, progress) VALUES ('job_old', 'warmup', 'train', 'queued', 0, '2030-01-01', 0, 0, "
    "false, 0, 0, 1, "
    """'{"kind": "warmup", "role": "teacher", "dataset": "ds_none", "target_name": "algebra"}', """
    """'{"step": 0, "total": null}')""",
    "INSERT INTO outbox (queue, job_id) VALUES ('train', 'job_old')",
    "INSERT INTO job_events (job_id, seq, attempt, created_at, type, data) "
    "VALUES ('job_old', 1, 0, '2030-01-01', 'queued', '{}')",
)


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'deep' / 'er' / 'rlt.db'}"
        return
    with postgres_url(migrated=False) as url:
        yield url


def start(url: str) -> None:
    database = Database(url)
    database.start()
    database.close()


def engine_on(url: str) -> Engine:
    """Open a database past our own class, as other programs do."""
    given = make_url(url)
    if given.drivername == "sqlite":
        Path(str(given.database)).parent.mkdir(parents=True, exist_ok=True)
        return create_engine(given)
    return create_engine(given.set(drivername="postgresql+psycopg"))


def test_migrations_and_tables_agree(database_url: str) -> None:
    engine = engine_on(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_the_newest_schema_is_the_last_migrations() -> None:
    assert [newest_schema()] == ScriptDirectory(str(MIGRATIONS)).get_heads()


def test_a_start_on_this_schema_needs_no_alembic(database_url: str) -> None:
    code = (
        "import sys\n"
        "from rlt_service.store.database import Database\n"
        "database = Database(sys.argv[1])\n"
        "database.start()\n"
        "database.check()\n"
        "sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, database_url], check=False).returncode == 0


def test_eight_that_start_together_make_one_schema(empty_url: str) -> None:
    with ThreadPoolExecutor(max_workers=8) as pool:
        starts = [pool.submit(start, empty_url) for _ in range(8)]
    assert [found.exception() for found in starts] == [None] * 8


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_database_of_any_schema_that_there_was_is_brought_up_and_keeps_what_it_holds(
    empty_url: str, tmp_path: Path, revision: str
) -> None:
    engine = engine_on(empty_url)
    with engine.begin() as connection:
        command.upgrade(migration_config(connection), "0001")
        for statement in OLDEST_ROWS:
            connection.execute(text(statement))
        command.upgrade(migration_config(connection), revision)
    engine.dispose()
    database = Database(empty_url)
    database.start()
    registry, jobs = Registry(database, ArtifactStore(tmp_path)), JobStore(database)
    assert registry.get_version("tiny@0").base_model == "tiny-model"
    assert registry.lineage("tiny@0").deleted_at is None
    assert [move.by for move in registry.alias_history("teacher", "default").data] == ["unknown"]
    claimed = jobs.claim(queue=QUEUE, worker="w1")
    assert claimed is not None
    assert (claimed.job.id, claimed.job.runtime_s) == ("job_old", 0.0)
    assert [event.type for event in jobs.events("job_old")] == ["queued", "started"]
    database.close()


def test_a_schema_of_a_newer_release_is_refused_with_its_number(database_url: str) -> None:
    engine = engine_on(database_url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    with pytest.raises(ConfigurationError, match=r"newer RLT.*9999"):
        start(database_url)


@pytest.fixture
def empty_postgres() -> Iterator[str]:
    with postgres_url(migrated=False) as url:
        yield url


def others_waiting(connection: Connection) -> int:
    query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    return connection.execute(text(query)).scalar_one()


def test_on_postgres_a_starter_waits_for_the_one_that_is_still_at_it(empty_postgres: str) -> None:
    engine = engine_on(empty_postgres)
    with ThreadPoolExecutor(max_workers=1) as pool, engine.connect() as connection:
        with connection.begin():
            lock_migrations(connection)
            starter = pool.submit(start, empty_postgres)
            wait_until(lambda: others_waiting(connection) == 1, what="the other starter to wait")
            assert inspect(connection).get_table_names() == []
        starter.result(timeout=30.0)
        with connection.begin():
            assert "jobs" in inspect(connection).get_table_names()
    engine.dispose()


def stop_half_way(url: str, ready: str) -> None:
    """Make half the schema, say so, and wait to be killed."""
    with engine_on(url).begin() as connection:
        lock_migrations(connection)
        command.upgrade(migration_config(connection), "0003")
        Path(ready).touch()
        time.sleep(60.0)


@pytest.mark.processes
def test_on_postgres_a_starter_that_is_killed_half_way_leaves_no_half_schema(
    empty_postgres: str, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    doomed = multiprocessing.get_context("spawn").Process(target=stop_half_way, args=(empty_postgres, str(ready)))
    doomed.start()
    wait_until(ready.exists, what="half a schema", timeout_s=60.0)
    os.kill(doomed.pid or 0, signal.SIGKILL)
    doomed.join()
    engine = engine_on(empty_postgres)
    with engine.connect() as connection:
        assert inspect(connection).get_table_names() == []
    engine.dispose()
    start(empty_postgres)
