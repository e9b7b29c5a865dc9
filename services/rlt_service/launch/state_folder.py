"""Own the state folder: that it can be written, that one launcher alone has it, who works on it, its address note."""

import errno
import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from types import TracebackType
from typing import Final, Self

from rlt_core.errors import ConfigurationError, StorageUnavailableError

PROBE_BYTES: Final = 2**20
"""Written and removed at start; with less room than this not even the database opens."""

_ADVICE = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EROFS: "it lies on a read-only file system: mount it for writing",
    errno.EACCES: "this user may not write there: change its owner or mode",
    errno.EPERM: "this user may not write there: change its owner or mode",
    errno.EEXIST: "it is a file, where a folder is needed: move the file away",
    errno.ENOTDIR: "a part of its path is a file, where a folder is needed: move the file away",
}


def unusable(folder: Path, error: OSError) -> StorageUnavailableError:
    """Say why a state folder cannot be used, and what to do about it."""
    reason = _ADVICE.get(error.errno or 0, error.strerror or repr(error))
    return StorageUnavailableError(
        f"the state folder {folder} cannot be used: {reason}, "
        "or choose another one with --home FOLDER or RLT_HOME=FOLDER"
    )


class StateFolder:
    """The folder of RLT_HOME, held by one launcher at a time; a context manager that lets go."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.logs = path / "logs"
        self._note = path / "server.json"
        self._lock: int | None = None
        self._use: int | None = None

    def prepare(self) -> None:
        """Make the folder and prove that it takes data; raises StorageUnavailableError that says what to do."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.logs.mkdir(exist_ok=True)
            # Without a name of its own: services that start at the same time would remove each other's.
            with TemporaryFile(dir=self.path, prefix=".write-check-") as file:
                file.write(bytes(PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise unusable(self.path, error) from error

    def take(self) -> None:
        """Lock the folder until this process ends; raises ConfigurationError naming who has it."""
        lock = os.open(self.path / "up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise ConfigurationError(self._taken()) from error
        self._lock = lock

    def use(self) -> None:
        """Work on the folder beside others until this process ends; ConfigurationError while it is being replaced."""
        if not self._locked_use(fcntl.LOCK_SH):
            raise ConfigurationError(
                f"The state folder {self.path} is just being replaced: start again when that is done."
            )

    def take_alone(self) -> None:
        """Have the folder to oneself; raises ConfigurationError while any server or worker works on it."""
        if not self._locked_use(fcntl.LOCK_EX):
            raise ConfigurationError(
                f"A server or a worker works on the state folder {self.path}: end it (`rlt up`, `rlt_service`, "
                "`rlt_service.jobs.worker`), then try again."
            )

    def _locked_use(self, kind: int) -> bool:
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
            lock = os.open(self.path / "use.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise unusable(self.path, error) from error
        try:
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return False
        self._use = lock
        return True

    def let_go(self) -> None:
        """End what `use` or `take_alone` began; repeatable."""
        if self._use is not None:
            os.close(self._use)
            self._use = None

    def note(self, *, pid: int, address: str) -> None:
        """Write down where the server is, whole or not at all, for `rlt` on this machine."""
        temporary = self._note.with_suffix(f".{os.getpid()}")
        with temporary.open("w", encoding="utf-8") as file:
            json.dump({"pid": pid, "address": address}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._note)

    def __enter__(self) -> Self:
        """Prepare and take the folder."""
        self.prepare()
        self.take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove the note and let go."""
        self.let_go()
        if self._lock is not None:
            with suppress(OSError):
                self._note.unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def _taken(self) -> str:
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            holder, pid = f"process {note['pid']} at {note['address']}", str(note["pid"])
        except (OSError, ValueError, KeyError):
            holder, pid = "a process that is only starting or just ending", "PID"
        return (
            f"RLT already runs on the state folder {self.path}: {holder}. Use that one, end it (`kill {pid}`), "
            "or start a second one beside it with --home FOLDER --port PORT"
        )
