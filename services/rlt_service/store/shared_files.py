"""Own the way of datasets and versions between this machine's folder and what all share, if there is such."""

import errno
import os
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from rlt_core.artifacts import Kind
from rlt_core.errors import StorageUnavailableError
from rlt_core.schemas.base import split_version
from rlt_service.store.artifacts import ArtifactStore, sync
from rlt_service.store.faults import storage_faults

_TURNS: dict[Path, threading.Lock] = {}
_TURNS_LOCK = threading.Lock()


def share_dataset(artifacts: ArtifactStore, path: Path, *, dataset_id: str, sha256: str) -> None:
    """Put a dataset where all reach it, before a row names it."""
    if artifacts.objects is not None:
        artifacts.objects.put_dataset(path, dataset_id=dataset_id, sha256=sha256)


def fetch_dataset(artifacts: ArtifactStore, *, dataset_id: str, sha256: str) -> Path:
    """Give a dataset's file, fetched where it does not lie here yet.

    Raises StorageUnavailableError, InconsistentStateError. Without a store the file may not be there.
    """
    path = artifacts.dataset_path(dataset_id)
    if artifacts.objects is None or path.is_file():
        return path
    with _turn(path):
        if not path.is_file():
            with artifacts.incoming_file() as fresh, storage_faults(f"fetch dataset {dataset_id}"):
                artifacts.objects.get_dataset(fresh, dataset_id=dataset_id, sha256=sha256)
                artifacts.keep_file(fresh, path)
    return path


def share_version(artifacts: ArtifactStore, folder: Path, kind: Kind, *, name: str, sha256: str) -> None:
    """Put a version's files where all reach them, before a row names them."""
    if artifacts.objects is not None:
        artifacts.objects.put_version(folder, kind, name=name, sha256=sha256)


def still_shared(artifacts: ArtifactStore, *, name: str, sha256: str) -> None:
    """Raise StorageUnavailableError where files that were shared have gone: the end of an equal version took them."""
    if artifacts.objects is not None and not artifacts.objects.has_version(name=name, sha256=sha256):
        raise StorageUnavailableError(
            f"The files of the new version of {name} went with an equal one that was just deleted. Try again.",
            retry_after_s=1.0,
        )


def fetch_version(artifacts: ArtifactStore, folder: Path, kind: Kind, *, version: str, sha256: str) -> None:
    """See that a version's files lie in `folder`; what is none of a registered version's is left alone.

    Raises StorageUnavailableError, InconsistentStateError.
    """
    if artifacts.objects is None or folder.is_dir() or not folder.is_relative_to(artifacts.root / "versions"):
        return
    name, _ = split_version(version)
    with _turn(folder):
        if folder.is_dir():
            return
        with artifacts.incoming_folder() as fresh, storage_faults(f"fetch {version}"):
            artifacts.objects.get_version(fresh, kind, name=name, sha256=sha256)
            for file in fresh.iterdir():
                sync(file)
            _put_in_place(fresh, folder)


def _put_in_place(fresh: Path, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh.chmod(0o755)
    try:
        os.replace(fresh, folder)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # another process of this machine was faster
            raise
    sync(folder.parent)


@contextmanager
def _turn(path: Path) -> Generator[None]:
    """Let one thread fetch a thing, and the others wait for it."""
    with _TURNS_LOCK:
        lock = _TURNS.setdefault(path, threading.Lock())
    with lock:
        yield
