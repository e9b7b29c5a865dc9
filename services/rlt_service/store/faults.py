"""Own the translation of storage faults (disk full, read-only, locked, gone) into StorageUnavailableError."""

import errno
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from rlt_core.errors import StorageUnavailableError

RETRY_AFTER_S = 5.0
"""A human has to free space or mount again; asking more often helps nobody."""

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
_REMEDY = "Free some space, or make the state folder (RLT_HOME) writable, then try again."


@contextmanager
def storage_faults(what: str) -> Generator[None]:
    """Raise StorageUnavailableError for faults of disk or database inside; `what` says what was being done."""
    try:
        yield
    except DBAPIError as error:
        if not _is_storage_fault(error):
            raise
        raise StorageUnavailableError(f"Cannot {what}: {error.orig}. {_REMEDY}", retry_after_s=RETRY_AFTER_S) from error
    except PoolTimeoutError as error:
        raise StorageUnavailableError(f"Cannot {what}: {error}. Try again.", retry_after_s=RETRY_AFTER_S) from error
    except OSError as error:
        if error.errno not in _STORAGE_ERRNOS:
            raise
        raise StorageUnavailableError(f"Cannot {what}: {error}. {_REMEDY}", retry_after_s=RETRY_AFTER_S) from error


def _is_storage_fault(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        code: int | None = getattr(error.orig, "sqlite_errorcode", None)
        return code is not None and code & 0xFF in _STORAGE_SQLITE
    return isinstance(error, OperationalError | InterfaceError)
