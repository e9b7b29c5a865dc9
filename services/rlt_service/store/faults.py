"""Own the translation of storage faults (disk full, read-only, locked, gone) into StorageUnavailableError."""

import errno
import shutil
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from rlt_core.errors import StorageUnavailableError

RETRY_AFTER_S = 5.0
"""A human has to free space or mount again; asking more often helps nobody."""

MIN_FREE_BYTES = 32 * 2**20
"""Below this a disk counts as not writable: the next fsync is likely to fail."""

_STORAGE_ERRNOS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE}
)
# Primary result codes of SQLite that speak of the machine, not of our SQL.
_STORAGE_SQLITE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOTADB,
    }
)
_FULL_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})
_FULL_SQLITE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY})
_REMEDY = "Free some space, or make the state folder (RLT_HOME) writable, then try again."


class StorageFullError(StorageUnavailableError):
    """Nothing can be written until a human makes room, or lets it be written; for callers the same as its parent."""


def free_bytes(folder: Path) -> int:
    """Tell how much room a folder's disk has left."""
    return shutil.disk_usage(folder).free


def check_room(place: Path, free: int) -> None:
    """Raise StorageUnavailableError where too little is left for a write to be likely to succeed."""
    if free < MIN_FREE_BYTES:
        raise StorageUnavailableError(
            f"Only {free} bytes are free at {place}, {MIN_FREE_BYTES} are wanted. Free some space.",
            retry_after_s=RETRY_AFTER_S,
        )


@contextmanager
def storage_faults(what: str) -> Generator[None]:
    """Raise StorageUnavailableError for faults of disk or database inside; `what` says what was being done."""
    try:
        yield
    except DBAPIError as error:
        if not _is_storage_fault(error):
            raise
        raise _fault(f"{what}: {error.orig}", full=_sqlite_code(error) in _FULL_SQLITE) from error
    except PoolTimeoutError as error:
        raise StorageUnavailableError(f"Cannot {what}: {error}. Try again.", retry_after_s=RETRY_AFTER_S) from error
    except OSError as error:
        if error.errno not in _STORAGE_ERRNOS:
            raise
        raise _fault(f"{what}: {error}", full=error.errno in _FULL_ERRNOS) from error


def _fault(what: str, *, full: bool) -> StorageUnavailableError:
    kind = StorageFullError if full else StorageUnavailableError
    return kind(f"Cannot {what}. {_REMEDY}", retry_after_s=RETRY_AFTER_S)


def _sqlite_code(error: DBAPIError) -> int | None:
    """Give SQLite's primary result code; None for another database's error."""
    code: int | None = getattr(error.orig, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _is_storage_fault(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_code(error) in _STORAGE_SQLITE
    return isinstance(error, OperationalError | InterfaceError)
