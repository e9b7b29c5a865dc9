"""Own how files of a backup are written: hashed while they are copied, no link followed, on disk before they count."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from rlt_core.errors import InconsistentStateError

Advance = Callable[[int], None]
"""Is told how many bytes were written since it was last told."""

_BLOCK_BYTES: Final = 1 << 20


def copy_file(source: Path, target: Path, *, advance: Advance) -> tuple[int, str]:
    """Copy a plain file to a new one, durably; give its size and SHA-256.

    Raises OSError, FileNotFoundError where it has gone, InconsistentStateError for a link or anything else.
    """
    if not stat.S_ISREG(source.lstat().st_mode):
        raise InconsistentStateError(f"{source} is no plain file.")
    digest, size = hashlib.sha256(), 0
    with os.fdopen(os.open(source, os.O_RDONLY | os.O_NOFOLLOW), "rb") as reading:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as writing:
            while block := reading.read(_BLOCK_BYTES):
                digest.update(block)
                writing.write(block)
                size += len(block)
                advance(len(block))
            writing.flush()
            os.fsync(writing.fileno())
    return size, digest.hexdigest()


def plain_files(folder: Path) -> Iterator[Path]:
    """Give the files below a folder, without hidden ones (unfinished); raises InconsistentStateError for links."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.is_symlink():
            raise InconsistentStateError(f"{entry.path} is a symbolic link; links are not followed.")
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from plain_files(Path(entry.path))
        else:
            yield Path(entry.path)


def write_durable(path: Path, content: bytes) -> None:
    """Put a small file in place whole, or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    sync_folder(path.parent)


def sync_tree(folder: Path) -> None:
    """Make a folder's entries durable, those of all folders below it too."""
    for below, folders, _ in os.walk(folder):
        del folders
        sync_folder(Path(below))


def sync_folder(folder: Path) -> None:
    """Make a folder's entries durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
