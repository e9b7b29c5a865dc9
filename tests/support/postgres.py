"""A real Postgres for the tests, on a socket in a short folder: one server a process, one database a test."""

import atexit
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path

import psycopg
import pytest

from rlt_service.store.database import Database

REQUIRED = "RLT_TEST_POSTGRES"
"""Set to `required` where the tests must not be left out: in CI, once Postgres is installed there."""
DEBIAN = Path("/usr/lib/postgresql")
UNPRIVILEGED = ("postgres", "nobody")
"""Postgres refuses to run as root."""
PLAIN: Mapping[str, str] = {
    "listen_addresses": "",
    "shared_buffers": "32MB",
    "max_connections": "120",
    "log_min_messages": "warning",
}
"""As it comes, but small, and on its socket alone."""
FAST: Mapping[str, str] = {
    **PLAIN,
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
}
"""Loses what it has when the machine ends, which no test waits for."""
_NAMES = count()


class Postgres:
    """One server in a folder of its own."""

    def __init__(self, binaries: Path, *, options: Mapping[str, str] = FAST) -> None:
        self._binaries = binaries
        self._options = options
        self._account = _account()
        self._groups: list[int] | None = None if self._account is None else []
        self.folder = Path(tempfile.mkdtemp(prefix="rlt-pg-", dir="/tmp"))
        self._process: subprocess.Popen[bytes] | None = None
        if self._account is not None:
            os.chown(self.folder, self._account, -1)

    def make(self) -> None:
        """Make the cluster's files."""
        command = [self._binaries / "initdb", "-D", self.folder / "data", "-U", "rlt", "-E", "UTF8", "-A", "trust"]
        subprocess.run(
            [*command, "--locale=C", "--no-sync"],
            check=True,
            capture_output=True,
            cwd="/",
            user=self._account,
            extra_groups=self._groups,
        )

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = [word for name, value in self._options.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [self._binaries / "postgres", "-D", self.folder / "data", "-k", self.folder, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                user=self._account,
                extra_groups=self._groups,
            )
        self._process = process
        ready = [self._binaries / "pg_isready", "-q", "-h", self.folder, "-U", "rlt"]
        for _ in range(600):
            if subprocess.run(ready, check=False).returncode == 0:
                return
            if process.poll() is not None:
                break
        raise AssertionError(f"Postgres did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        """End the server at once, and every connection with it; repeatable."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # its "fast" shutdown
            try:
                self._process.wait(timeout=20.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def crash(self) -> None:
        """Have every process of the server end where it stands, as if each were killed; what was committed stays."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)  # its "immediate" shutdown
            self._process.wait(timeout=20.0)
            self._process = None

    def remove(self) -> None:
        """End the server and delete its files."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, name: str) -> str:
        """Give the URL of a database as a user writes it."""
        return f"postgresql://rlt@/{name}?host={self.folder}"

    def admin(self, statement: str) -> None:
        """Run a statement that no transaction may hold."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    @contextmanager
    def database(self, template: str) -> Generator[str]:
        """Lend the URL of a fresh database, gone afterwards with every connection to it."""
        name = f"test_{next(_NAMES)}"
        self.admin(f"CREATE DATABASE {name} TEMPLATE {template}")
        try:
            yield self.url(name)
        finally:
            self.admin(f"DROP DATABASE {name} WITH (FORCE)")


def postgres() -> Postgres:
    """Give this process's server; skips the test where Postgres is not installed, unless it is required."""
    return _server(installed())


def installed() -> Path:
    """Give the folder of Postgres's programs; skips the test where there is none, unless it is required."""
    found = programs()
    if found is not None:
        return found
    message = "no Postgres here: install Debian's `postgresql`, or put initdb and postgres on the PATH"
    if os.environ.get(REQUIRED) == "required":
        pytest.fail(message)
    pytest.skip(message)


def programs() -> Path | None:
    """Find the folder with both programs: on the PATH, then where Debian keeps its newest."""
    on_path = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    debian = sorted(DEBIAN.glob("*/bin"), key=lambda folder: float(folder.parent.name), reverse=True)
    wanted = ("initdb", "postgres", "pg_isready")
    return next((folder for folder in (*on_path, *debian) if all((folder / name).is_file() for name in wanted)), None)


@contextmanager
def postgres_url(*, migrated: bool = True) -> Generator[str]:
    """Lend the URL of a fresh database, with the schema or empty."""
    server = postgres()
    with server.database(_migrated(server) if migrated else "template0") as url:
        yield url


def started(binaries: Path, *, options: Mapping[str, str] = FAST) -> Postgres:
    """Make and start a server, to be removed at the end of the process at the latest."""
    server = Postgres(binaries, options=options)
    atexit.register(server.remove)
    server.make()
    server.start()
    return server


@contextmanager
def own_postgres(*, options: Mapping[str, str] = FAST) -> Generator[Postgres]:
    """Lend a server that a test may stop and start."""
    server = started(installed(), options=options)
    try:
        yield server
    finally:
        server.remove()
        atexit.unregister(server.remove)


@cache
def _server(binaries: Path) -> Postgres:
    return started(binaries)


@cache
def _migrated(server: Postgres) -> str:
    server.admin("CREATE DATABASE migrated")
    database = Database(server.url("migrated"))
    database.start()
    database.close()
    return "migrated"


def _account() -> int | None:
    """Choose whom the server runs as; None is the present user."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name: entry.pw_uid for entry in pwd.getpwall()}
    return next(known[name] for name in UNPRIVILEGED if name in known)
