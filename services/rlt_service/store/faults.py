"""Own the translation of faults of disk and database (full, read-only, locked, gone) into StorageUnavailableError."""

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
# SQLSTATEs of Postgres that speak of the machine and are no OperationalError of the driver.
_STORAGE_SQLSTATES = frozenset({"25006", "25P03", "42501", "XX001", "XX002"})
_FULL_SQLSTATES = frozenset({"53100", "25006", "42501"})
"""Disk full, read-only, no right to write."""
_LOST_SQLSTATES = frozenset({"40001", "40P01"})
"""Broken off in favour of another transaction: the same again may well succeed."""
_REMEDY_POSTGRES = "Look after the database server (RLT_DATABASE_URL), then try again."
_REMEDY = "Free some space, or make the state folder (RLT_HOME) writable, then try again."


class StorageFullError(StorageUnavailableError):
    """Nothing can be written until a human makes room, or lets it be written; for callers the same as its parent."""


class TransactionLostError(StorageUnavailableError):
    """Postgres broke a transaction off in favour of another; nothing was written, and it may be tried again at once."""


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
        raise _fault_of(what, error) from error
    except PoolTimeoutError as error:
        raise StorageUnavailableError(f"Cannot {what}: {error}. Try again.", retry_after_s=RETRY_AFTER_S) from error
    except OSError as error:
        if error.errno not in _STORAGE_ERRNOS:
            raise
        raise _fault(f"{what}: {error}", full=error.errno in _FULL_ERRNOS) from error


def _fault(what: str, *, full: bool) -> StorageUnavailableError:
    kind = StorageFullError if full else StorageUnavailableError
    return kind(f"Cannot {what}. {_REMEDY}", retry_after_s=RETRY_AFTER_S)


def _fault_of(what: str, error: DBAPIError) -> StorageUnavailableError:
    if isinstance(error.orig, sqlite3.Error):
        return _fault(f"{what}: {error.orig}", full=_sqlite_code(error) in _FULL_SQLITE)
    state, said = _sqlstate(error), " ".join(str(error.orig).split())
    if state in _LOST_SQLSTATES:
        return TransactionLostError(f"Cannot {what}: {said}. Try again.", retry_after_s=1.0)
    kind = StorageFullError if state in _FULL_SQLSTATES else StorageUnavailableError
    return kind(f"Cannot {what}: {said}. {_REMEDY_POSTGRES}", retry_after_s=RETRY_AFTER_S)


def _sqlstate(error: DBAPIError) -> str | None:
    """Give Postgres's code; None where there is no connection that could have sent one."""
    return getattr(error.orig, "sqlstate", None)


def _sqlite_code(error: DBAPIError) -> int | None:
    """Give SQLite's primary result code; None for another database's error."""
    code: int | None = getattr(error.orig, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _is_storage_fault(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_code(error) in _STORAGE_SQLITE
    return isinstance(error, OperationalError | InterfaceError) or _sqlstate(error) in _STORAGE_SQLSTATES
