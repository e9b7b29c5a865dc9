"""Own the copy of the database as of one moment, while others write to it; its contents are read as of that moment."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, create_engine, make_url, text
from sqlalchemy.pool import NullPool

from rlt_core.errors import ConfigurationError, InconsistentStateError, StorageUnavailableError
from rlt_service.backup.durable_files import sync_folder
from rlt_service.backup.manifest import DATABASE, DUMP
from rlt_service.store.faults import storage_faults

PAGES: Final = 1024
"""Of SQLite, copied between two looks at the progress."""
LARGE_PAGES: Final = 64 * PAGES
"""A quarter of a gigabyte: from here on the copy takes so long that it says how far it is."""
TRANSIENT: Final = "rollouts"
"""Policies of a running attempt's steps: they come and go, and no attempt goes on in a copy."""


def database_of(url: str) -> URL:
    """Read the URL of the database to copy; raises ConfigurationError for one that is neither SQLite nor Postgres."""
    found = make_url(url)
    if found.get_backend_name() not in ("sqlite", "postgresql"):
        raise ConfigurationError(f"A {found.get_backend_name()} database cannot be copied: use that database's tools.")
    return found


@contextmanager
def copied_database(url: URL, folder: Path, *, show: Callable[[str], None]) -> Generator[Connection]:
    """Write the database as of now to `folder`; the connection that is given reads that same state.

    Raises ConfigurationError, StorageUnavailableError, InconsistentStateError.
    """
    if url.get_backend_name() == "sqlite":
        copy = folder / DATABASE
        _copy_sqlite(Path(str(url.database).removeprefix("file:")), copy, show=show)
        engine = create_engine(f"sqlite:///{copy}", poolclass=NullPool)
        with engine.connect() as connection:
            yield connection
        return
    engine = create_engine(url, poolclass=NullPool, isolation_level="REPEATABLE READ")
    with storage_faults("read the database"), engine.connect() as connection:
        snapshot = connection.scalar(text("SELECT pg_export_snapshot()"))
        show("pg_dump writes the database")
        _dump_postgres(url, folder / DUMP, snapshot=str(snapshot))
        yield connection


def _copy_sqlite(source: Path, target: Path, *, show: Callable[[str], None]) -> None:
    if not source.is_file():
        raise ConfigurationError(
            f"There is no database {source}: name the state folder with --home FOLDER or RLT_HOME=FOLDER."
        )
    target.unlink(missing_ok=True)
    try:
        with (
            closing(sqlite3.connect(f"file:{quote(str(source))}?mode=rw", uri=True, timeout=30.0)) as live,
            closing(sqlite3.connect(target, isolation_level=None)) as copy,
        ):
            live.isolation_level = None
            # One reading transaction over all steps: else each write of another process would start the copy anew.
            live.execute("BEGIN")
            live.execute("SELECT count(*) FROM sqlite_master").fetchone()
            live.backup(copy, pages=PAGES, progress=_shown(show))
            copy.execute("PRAGMA journal_mode = DELETE")  # a file of its own, nothing beside it
            copy.execute(f"DELETE FROM {TRANSIENT}")
            check_sqlite(copy, target)
    except sqlite3.Error as error:
        raise StorageUnavailableError(
            f"The database {source} cannot be copied: {error}. See that it is a database, that its folder can be "
            "written, and that there is room for the copy."
        ) from error
    descriptor = os.open(target, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    sync_folder(target.parent)


def _shown(show: Callable[[str], None]) -> Callable[[int, int, int], None]:
    """Say each tenth of a large database; a small one is done before anybody reads it."""
    tenths = 0

    def tell(_: int, left: int, pages: int) -> None:
        nonlocal tenths
        done = 10 * (pages - left) // max(1, pages)
        if pages > LARGE_PAGES and done > tenths:
            tenths = done
            show(f"database: {10 * done}%")

    return tell


def check_sqlite(connection: sqlite3.Connection, path: Path) -> None:
    """Raise InconsistentStateError where SQLite finds a fault in a database."""
    found = connection.execute("PRAGMA integrity_check").fetchone()[0]
    broken = connection.execute("PRAGMA foreign_key_check").fetchone()
    if found != "ok" or broken is not None:
        raise InconsistentStateError(f"The database {path} is damaged: {found if found != 'ok' else broken}.")


def _dump_postgres(url: URL, target: Path, *, snapshot: str) -> None:
    program = shutil.which("pg_dump")
    if program is None:
        raise ConfigurationError(
            "The database is Postgres, whose copy pg_dump makes, and there is no pg_dump here: install Postgres' "
            "client programs, of the server's version or newer."
        )
    command = [program, "--format=custom", f"--snapshot={snapshot}", f"--exclude-table-data={TRANSIENT}"]
    done = subprocess.run(
        [*command, f"--file={target}", f"--dbname={libpq_url(url)}"],
        env=os.environ | ({"PGPASSWORD": str(url.password)} if url.password else {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise StorageUnavailableError(f"pg_dump ended with {done.returncode}: {done.stderr.strip()[-500:]}")


def libpq_url(url: URL) -> str:
    """Write a URL as Postgres' own programs read it, without the password, which others would see."""
    without = URL.create(  # `set` keeps what it is given as None
        "postgresql", username=url.username, host=url.host, port=url.port, database=url.database, query=url.query
    )
    return without.render_as_string(hide_password=False)
