"""Own the connection: short transactions, migrations at the start, SQLite's pragmas. Knows no table."""

import fcntl
import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.orm import Session, sessionmaker

from rlt_core.errors import ConfigurationError
from rlt_service.store.faults import check_room, free_bytes, storage_faults
from rlt_service.store.migration import migrate
from rlt_service.store.postgres import is_postgres, lock_migrations, postgres_engine
from rlt_service.store.texts import keep_to_what_can_be_stored

_PRAGMAS = (
    "PRAGMA busy_timeout=30000",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
)
_IMMEDIATE = "rlt_begin_immediate"


class Database:
    """One database for all stores. `start()` makes it, migrates it, and may be called by many processes at once."""

    def __init__(self, url: str, *, free_bytes: Callable[[Path], int] = free_bytes) -> None:
        """Take an SQLAlchemy URL of SQLite or Postgres, and what tells how much room is left in a folder."""
        self.url = url
        self._free_bytes = free_bytes
        self._engine: Engine | None = None

    def start(self) -> None:
        """Create the folder and the schema. Raises ConfigurationError or StorageUnavailableError."""
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> None:
        try:
            url = make_url(self.url)
        except (ArgumentError, ValueError):  # which may quote the URL, and with it a password
            raise ConfigurationError(
                "RLT_DATABASE_URL is no SQLAlchemy URL. Use sqlite:////path/rlt.db or postgresql://user@host/rlt, or "
                "leave it out; write special characters of a password in percent form."
            ) from None
        if is_postgres(url):
            self._start_postgres(url)
            return
        if url.drivername.partition("+")[0] != "sqlite":
            raise ConfigurationError(
                f"RLT_DATABASE_URL names {url.drivername!r}: use sqlite:////path/rlt.db or postgresql://user@host/rlt."
            )
        if not url.database or url.database == ":memory:":
            raise ConfigurationError(f"{self.url} is in memory: several processes share it, so name a file.")
        path = Path(url.database.removeprefix("file:"))  # SQLite also takes a path as a URI
        with storage_faults(f"open the database {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _exclusive(path.with_name(path.name + ".lock")):
                self._engine = _sqlite_engine(self.url)
                with self._engine.execution_options(**{_IMMEDIATE: True}).begin() as connection:
                    migrate(connection)

    def _start_postgres(self, url: URL) -> None:
        self._engine = _watched(postgres_engine(url))
        shown = url.render_as_string(hide_password=True)
        with storage_faults(f"open the database {shown}"), self._engine.begin() as connection:
            lock_migrations(connection)
            migrate(connection)

    @contextmanager
    def transaction(self) -> Generator[Session]:
        """Open a session that writes: SQLite takes the write lock at once; commit at the end, roll back on errors."""
        with storage_faults("write to the database"), self._sessions(self._writer()).begin() as session:
            yield session

    @contextmanager
    def reading(self) -> Generator[Session]:
        """Open a session that only reads: a snapshot that waits for no writer."""
        with storage_faults("read the database"), self._sessions(self._reader()).begin() as session:
            yield session

    def check(self) -> None:
        """Raise StorageUnavailableError unless a write could begin and space is left for it."""
        with self.transaction() as session:
            session.execute(text("SELECT 1"))
        name = self._started().url.database
        if self._started().dialect.name != "sqlite" or name is None:
            return
        with storage_faults("look at the disk"):
            free = self._free_bytes(Path(name).parent)
        check_room(Path(name), free)

    def close(self) -> None:
        """Close every connection; repeatable."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _started(self) -> Engine:
        if self._engine is None:
            raise ConfigurationError("The database was not started: call Database.start() first.")
        return self._engine

    @staticmethod
    def _sessions(engine: Engine) -> sessionmaker[Session]:
        return sessionmaker(engine, expire_on_commit=False)

    def _reader(self) -> Engine:
        engine = self._started()
        if engine.dialect.name == "sqlite":  # every transaction of it is a snapshot
            return engine
        return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def _writer(self) -> Engine:
        return self._started().execution_options(**{_IMMEDIATE: True})


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(url, connect_args={"timeout": 30.0}, pool_size=8, max_overflow=32)

    def configure(connection: sqlite3.Connection, _record: object) -> None:
        # sqlite3 opens transactions by guess unless told not to; `begin` below does it.
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(pragma)

    def begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get(_IMMEDIATE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    event.listen(engine, "connect", configure)
    event.listen(engine, "begin", begin)
    return _watched(engine)


def _watched(engine: Engine) -> Engine:
    event.listen(engine, "before_cursor_execute", keep_to_what_can_be_stored, retval=True)
    return engine


@contextmanager
def _exclusive(lock: Path) -> Generator[None]:
    """Hold a lock between processes: the switch to WAL does not wait for the busy timeout."""
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
