"""Own how a finished folder takes the place of another, at once, and what a kill leaves beside it."""

import ctypes
import errno
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rlt_core.errors import ConfigurationError
from rlt_service.backup.durable_files import sync_folder

UNFINISHED: Final = ".unfinished"
"""Lies in a folder for as long as it may be thrown away."""

_AT_FDCWD: Final = -100
_RENAME_EXCHANGE: Final = 2


@contextmanager
def unfinished_folder(target: Path) -> Generator[Path]:
    """Make a folder beside `target`, on its disk, that goes unless it was moved; so do leftovers of a kill."""
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.part-"
    for left in target.parent.glob(f"{prefix}*"):
        with ExitStack() as stack:
            if (left / UNFINISHED).exists() and _lock(left, stack):
                shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
    with ExitStack() as stack:
        _lock(folder, stack)
        (folder / UNFINISHED).touch()
        try:
            yield folder
        except BaseException:
            if (folder / UNFINISHED).exists():
                shutil.rmtree(folder, ignore_errors=True)
            raise


def put_in_place(folder: Path, target: Path) -> Path | None:
    """Let a finished folder be `target`, in one step; give where what was there lies now, None where nothing was.

    Raises ConfigurationError where the file system cannot do that at once.
    """
    is_new = not target.exists() or not any(target.iterdir())
    # Gone before the swap: after it the folder holds what was there before, which nobody may throw away.
    (folder / UNFINISHED).unlink()
    try:
        _move(folder, target) if is_new else _exchange(folder, target)
    except BaseException:
        (folder / UNFINISHED).touch()
        raise
    sync_folder(target.parent)
    if is_new:
        return None
    former = target.with_name(f"{target.name}.before-{datetime.now(tz=UTC):%Y%m%d-%H%M%S}")
    os.rename(folder, former)
    sync_folder(target.parent)
    return former


def _move(folder: Path, target: Path) -> None:
    try:
        os.rename(folder, target)
    except OSError as error:
        raise _immovable(target, error) from error


def _immovable(target: Path, error: OSError) -> Exception:
    if error.errno in (errno.EBUSY, errno.EXDEV):
        return ConfigurationError(f"{target} is a mount point, whose place nothing takes: name a new folder below it.")
    if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
        return ConfigurationError(f"{target} came to hold something meanwhile: nothing was changed there.")
    if error.errno in (errno.EINVAL, errno.ENOSYS):
        return ConfigurationError(f"This file system cannot swap folders at once: move {target} away yourself first.")
    return error


def _lock(folder: Path, stack: ExitStack) -> bool:
    """Lock a folder; False where somebody who still works on it holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    stack.callback(os.close, descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _exchange(one: Path, other: Path) -> None:
    """Swap two folders in one step; a kill finds the one or the other, never none."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None) if sys.platform == "linux" else None
    if rename is None:
        raise ConfigurationError(f"This system cannot swap folders at once: move {other} away yourself first.")
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) != 0:
        number = ctypes.get_errno()
        raise _immovable(other, OSError(number, os.strerror(number), str(other)))
