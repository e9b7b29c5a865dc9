import fcntl
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from rlt_core.errors import ConfigurationError, StorageUnavailableError
from rlt_core.schemas.jobs import WarmupSpec
from rlt_service.store.database import Database
from rlt_service.store.faults import MIN_FREE_BYTES
from rlt_service.store.jobs import JobStore
from tests.support.schema import lay_schema


def _start(url: str) -> None:
    database = Database(url)
    database.start()
    database.close()


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Database]:
    database = Database(lay_schema(tmp_path))
    database.start()
    yield database
    database.close()


def test_every_connection_waits_for_locks_and_survives_a_power_cut(sqlite: Database) -> None:
    with sqlite.transaction() as session:
        pragmas = {name: session.scalar(text(f"PRAGMA {name}")) for name in ("busy_timeout", "synchronous")}
        assert pragmas == {"busy_timeout": 30000, "synchronous": 2}
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(text("PRAGMA foreign_keys")) == 1


def test_a_transaction_that_has_only_read_holds_the_write_lock_already(sqlite: Database, tmp_path: Path) -> None:
    """Locked only with its first write, it might have read what another changes: SQLite refuses that write at once."""
    with closing(sqlite3.connect(tmp_path / "rlt.db", timeout=0.0, isolation_level=None)) as other:
        with sqlite.transaction() as session:
            session.execute(text("SELECT count(*) FROM jobs"))
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
        with sqlite.reading() as session:
            session.execute(text("SELECT count(*) FROM jobs"))
            other.execute("BEGIN IMMEDIATE")  # who only reads is in nobody's way
            other.execute("ROLLBACK")


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


def test_a_full_database_is_a_storage_fault(sqlite: Database, warmup: WarmupSpec) -> None:
    """SQLite's own page limit gives the same error as a full disk."""
    with sqlite.transaction() as session:
        pages = session.scalar(text("PRAGMA page_count"))
        session.execute(text(f"PRAGMA max_page_count = {pages}"))
    store = JobStore(sqlite)
    with pytest.raises(StorageUnavailableError, match="full"):
        _submit(store, warmup, times=200)


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


def _submit(store: JobStore, spec: WarmupSpec, *, times: int) -> None:
    for number in range(times):
        store.submit(spec.model_copy(update={"name": f"{number} {'x' * 150}"}))
