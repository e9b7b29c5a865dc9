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
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)  # on a full disk it would keep what room there is
        raise
    for path in sorted(temporary.rglob("*")):
        _fsync(path)
    _fsync(temporary)
    os.replace(temporary, target)
    _fsync(target.parent)


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
