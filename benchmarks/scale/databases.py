"""Own the databases of the benchmark: SQLite in a folder, or a Postgres of its own, and how large each has grown."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.support.postgres import PLAIN, own_postgres, programs

OPTIONS = {**PLAIN, "max_connections": "400", "shared_buffers": "256MB"}
"""Durable as it comes."""
KINDS = ("sqlite", "postgres")


@contextmanager
def lent(kind: str, folder: Path) -> Generator[str]:
    """Lend the URL of an empty database; raises FileNotFoundError where Postgres is not installed."""
    if kind == "sqlite":
        folder.mkdir(parents=True, exist_ok=True)
        yield f"sqlite:///{folder / 'rlt.db'}"
        return
    if programs() is None:
        raise FileNotFoundError("no Postgres here: install Debian's `postgresql`, or leave out what runs on Postgres")
    with own_postgres(options=OPTIONS) as server:
        yield server.url("postgres")


def best_kind() -> str:
    """Name what several servers are to share: Postgres, where it is installed."""
    return "sqlite" if programs() is None else "postgres"


def size_bytes(url: str) -> int:
    """Give the size of a database, with all that was written to it in its place."""
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        connection = sqlite3.connect(path)
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            connection.close()
        return path.stat().st_size
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
        found = connection.execute("SELECT pg_database_size(current_database())").fetchone()
    if found is None:
        raise RuntimeError("Postgres does not say how large its database is")
    return int(found[0])
