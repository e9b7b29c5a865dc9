import fcntl
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text

from rlt_core.errors import ConfigurationError, StorageUnavailableError
from rlt_core.schemas.jobs import WarmupSpec
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.database import Database, migration_config
from rlt_service.store.faults import MIN_FREE_BYTES
from rlt_service.store.jobs import JobStore
from rlt_service.store.registry import Registry
from rlt_service.store.tables import Base


def _start(url: str) -> None:
    database = Database(url)
    database.start()
    database.close()


def test_migrations_and_tables_agree(database: Database) -> None:
    engine = create_engine(database.url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_every_connection_waits_for_locks_and_survives_a_power_cut(database: Database) -> None:
    with database.transaction() as session:
        pragmas = {name: session.scalar(text(f"PRAGMA {name}")) for name in ("busy_timeout", "synchronous")}
        assert pragmas == {"busy_timeout": 30000, "synchronous": 2}
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(text("PRAGMA foreign_keys")) == 1


def test_eight_that_start_together_make_one_schema(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'deep' / 'er' / 'rlt.db'}"
    with ThreadPoolExecutor(max_workers=8) as pool:
        starts = [pool.submit(_start, url) for _ in range(8)]
    assert [start.exception() for start in starts] == [None] * 8


def test_a_starter_waits_for_the_one_that_is_still_at_it(tmp_path: Path) -> None:
    path = tmp_path / "rlt.db"
    with path.with_name("rlt.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        starter = threading.Thread(target=_start, args=(f"sqlite:///{path}",))
        starter.start()
        starter.join(timeout=0.5)
        assert starter.is_alive()
        assert not path.exists()
    starter.join()
    assert path.exists()


def test_a_database_of_the_first_schema_is_brought_up_and_keeps_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "rlt.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        command.upgrade(migration_config(connection), "0001")
        connection.execute(
            text(
                "INSERT INTO versions (name, number, role, created_at, base_model, format) "
                "VALUES ('tiny', 0, 'teacher', '2030-01-01', 'tiny-model', 'stratos@1')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO alias_changes (role, alias, version, created_at, reason) "
                "VALUES ('teacher', 'default', 'tiny@0', '2030-01-01', 'long ago')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO aliases (role, alias, version, updated_at) "
                "VALUES ('teacher', 'default', 'tiny@0', '2030-01-01')"
            )
        )
    engine.dispose()
    database = Database(f"sqlite:///{path}")
    database.start()
    registry = Registry(database, ArtifactStore(tmp_path))
    assert registry.get_version("tiny@0").base_model == "tiny-model"
    assert registry.lineage("tiny@0").deleted_at is None
    assert [move.by for move in registry.alias_history("teacher", "default").data] == ["unknown"]
    database.close()


def test_a_schema_of_a_newer_release_is_refused_with_its_number(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rlt.db'}"
    _start(url)
    with sqlite3.connect(tmp_path / "rlt.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(ConfigurationError, match=r"newer RLT.*9999"):
        _start(url)


def test_an_error_inside_a_transaction_leaves_nothing(database: Database, jobs: JobStore, warmup: WarmupSpec) -> None:
    job = jobs.submit(warmup)

    def break_half_way() -> None:
        with database.transaction() as session:
            session.execute(text("DELETE FROM outbox"))
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError, match="half-way"):
        break_half_way()
    with database.reading() as session:
        assert session.scalar(text("SELECT job_id FROM outbox")) == job.id


def test_a_read_only_database_is_a_storage_fault_that_says_what_to_do(tmp_path: Path, warmup: WarmupSpec) -> None:
    path = tmp_path / "rlt.db"
    _start(f"sqlite:///{path}")
    database = Database(f"sqlite:///file:{path}?mode=ro&uri=true")
    database.start()
    with pytest.raises(StorageUnavailableError, match="RLT_HOME"):
        JobStore(database).submit(warmup)
    database.close()


def test_a_folder_in_the_place_of_the_database_is_a_storage_fault(tmp_path: Path) -> None:
    (tmp_path / "rlt.db").mkdir()
    with pytest.raises(StorageUnavailableError, match=r"rlt\.db"):
        _start(f"sqlite:///{tmp_path / 'rlt.db'}")


def test_a_full_database_is_a_storage_fault(database: Database, jobs: JobStore, warmup: WarmupSpec) -> None:
    """SQLite's own page limit gives the same error as a full disk."""
    with database.transaction() as session:
        pages = session.scalar(text("PRAGMA page_count"))
        session.execute(text(f"PRAGMA max_page_count = {pages}"))
    large = warmup.model_copy(update={"name": "x" * 200_000})
    with pytest.raises(StorageUnavailableError, match="full"):
        jobs.submit(large)


def test_a_disk_with_too_little_room_is_said_before_a_write_fails(tmp_path: Path) -> None:
    room = [MIN_FREE_BYTES]
    database = Database(f"sqlite:///{tmp_path / 'rlt.db'}", free_bytes=lambda _: room[0])
    database.start()
    database.check()
    room[0] -= 1
    with pytest.raises(StorageUnavailableError, match=rf"Only {MIN_FREE_BYTES - 1} bytes are free .* Free some space"):
        database.check()
    database.close()


@pytest.mark.parametrize("url", ["nonsense", "sqlite://", "sqlite:///:memory:"])
def test_an_url_that_cannot_be_shared_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        _start(url)


def test_the_database_is_usable_only_after_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="start"):
        Database(f"sqlite:///{tmp_path / 'rlt.db'}").check()
    assert stat.S_ISDIR(tmp_path.stat().st_mode)
