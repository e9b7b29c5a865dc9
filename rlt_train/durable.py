"""Own how files become durable: a temporary folder, fsync, one rename; a reader never sees half of it."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def durable_folder(target: Path) -> Iterator[Path]:
    """Yield a fresh folder to fill; on leaving, it becomes `target` at once. Replaces nothing: `target` must be new."""
    make_folder(target.parent)
    temporary = target.with_name(f".{target.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)  # on a full disk it would keep what room there is
        raise
    sync_files(temporary)
    os.replace(temporary, target)
    _fsync(target.parent)


def make_folder(path: Path) -> None:
    """Make a folder and what is missing above it, each durable in the one that holds it."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        _fsync(folder.parent)


def sync_files(folder: Path) -> None:
    """Make all that lies in a folder durable, then the folder itself."""
    for path in sorted(folder.rglob("*")):
        _fsync(path)
    _fsync(folder)


def write_durable(path: Path, content: bytes) -> None:
    """Put a file in place whole, or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(content)
    _fsync(temporary)
    os.replace(temporary, path)
    _fsync(path.parent)


def file_sha256(path: Path) -> str:
    """Hash a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
