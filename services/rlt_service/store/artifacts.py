"""Own the folders of datasets, job attempts and versions: every path is made here, under one root, no link followed."""

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from rlt_core.artifacts import WEIGHTS_SUFFIX, Kind, version_files, version_sha256
from rlt_core.errors import InvalidAdapterError, InvalidRequestError, InvalidWeightsError, NotFoundError
from rlt_core.schemas.base import NAME_PATTERN, split_version
from rlt_service.store.faults import check_room, free_bytes, storage_faults
from rlt_service.store.known_hashes import KnownHashes
from rlt_service.store.objects import ObjectStore

REFUSED: dict[Kind, type[InvalidRequestError]] = {"adapter": InvalidAdapterError, "full": InvalidWeightsError}
"""What is raised for files of a kind."""
LOG_NAME = "trainer.log"
"""What an attempt's trainer printed."""
_ATTEMPT = re.compile(r"attempt-([1-9][0-9]{0,8})")
_FOLDER = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")


class ArtifactStore:
    """Paths under one root, shared between hosts where there are several."""

    def __init__(
        self, root: Path, *, objects: ObjectStore | None = None, free_bytes: Callable[[Path], int] = free_bytes
    ) -> None:
        """Take the root, what machines share beside it, and what tells how much room is left there.

        Nothing is made before it is needed.
        """
        self.root = root
        self.objects = objects
        self._free_bytes = free_bytes

    def check(self) -> None:
        """Raise StorageUnavailableError unless files could be written here; writes nothing itself."""
        folder = next(folder for folder in (self.root, *self.root.absolute().parents) if folder.exists())
        with storage_faults(f"write below {self.root}"):
            if os.statvfs(folder).f_flag & os.ST_RDONLY:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(folder))
            if not os.access(folder, os.W_OK | os.X_OK):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES), str(folder))
            check_room(folder, self._free_bytes(folder))

    def dataset_path(self, dataset_id: str) -> Path:
        """JSONL file of a dataset."""
        return self._inside("datasets", f"{dataset_id}.jsonl")

    def attempt_dir(self, job_id: str, attempt: int) -> Path:
        """Return the only folder that an attempt writes to."""
        return self._inside("jobs", job_id, f"attempt-{attempt}")

    def attempts(self, job_id: str) -> set[int]:
        """Give the attempts of a job whose folders lie here."""
        folder = self._inside("jobs", job_id)
        found = [_ATTEMPT.fullmatch(path.name) for path in folder.iterdir()] if folder.is_dir() else []
        return {int(match[1]) for match in found if match is not None}

    def job_file(self, job_id: str, attempt: int) -> Path:
        """Return what an attempt's trainer is told."""
        return self.attempt_dir(job_id, attempt) / "job.json"

    def log_path(self, job_id: str, attempt: int) -> Path:
        """Return what an attempt's trainer printed."""
        return self.attempt_dir(job_id, attempt) / LOG_NAME

    def rollout_dir(self, job_id: str, attempt: int, step: int) -> Path:
        """Folder of the policy after one step."""
        return self._inside("jobs", job_id, f"attempt-{attempt}", "rollouts", str(step))

    def version_dir(self, name: str, number: int) -> Path:
        """Folder of a version's files."""
        if not re.fullmatch(NAME_PATTERN, name):
            raise InvalidRequestError(f"{name!r} is no name: use lower-case letters, digits and hyphens.")
        return self._inside("versions", name, str(number))

    def checked_sha256(self, folder: Path, kind: Kind = "adapter", *, known: KnownHashes | None = None) -> str:
        """Hash a version's files that lie under the root; files that `known` knows are not read again.

        Raises InvalidAdapterError or InvalidWeightsError for links or missing files.
        """
        self._check_files(folder, kind)
        with storage_faults(f"read {folder}"):
            if known is None:
                return version_sha256(folder, kind)
            files = [folder / name for name in version_files(folder, kind)]
            return known.sha256(files, lambda: version_sha256(folder, kind))

    def imports_dir(self, folder: str) -> Path:
        """Folder in which an operator laid a version's files for registration; raises NotFoundError."""
        path = self._inside("imports", folder)
        if not path.is_dir():
            raise NotFoundError(
                f"There is no folder imports/{folder} under the artifact root; put the version's files there first.",
                param="/folder",
            )
        return path

    def make_dir(self, path: Path) -> Path:
        """Create one of this store's folders; raises StorageUnavailableError."""
        with storage_faults(f"create {path}"):
            path.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def incoming_file(self) -> Generator[Path]:
        """Lend a file to write an upload to, on the same disk as the root; it is gone afterwards unless moved."""
        folder = self.make_dir(self._inside("incoming"))
        with storage_faults(f"write below {folder}"):
            handle, name = tempfile.mkstemp(dir=folder, suffix=".jsonl")
            os.close(handle)
        try:
            yield Path(name)
        finally:
            Path(name).unlink(missing_ok=True)

    @contextmanager
    def incoming_folder(self) -> Generator[Path]:
        """Lend a folder to write files to, on the same disk as the root; it is gone afterwards unless moved."""
        incoming = self.make_dir(self._inside("incoming"))
        with storage_faults(f"write below {incoming}"):
            folder = Path(tempfile.mkdtemp(dir=incoming))
        try:
            yield folder
        finally:
            self.discard(folder)

    def keep_file(self, source: Path, target: Path) -> None:
        """Move a written file into its place, durably."""
        with storage_faults(f"write {target}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.parent != self._inside("incoming"):
                copy = self.make_dir(self._inside("incoming")) / target.name
                source = Path(shutil.copyfile(source, copy))
            sync(source)
            os.replace(source, target)
            sync(target.parent)

    def stage(self, source: Path, kind: Kind = "adapter") -> Path:
        """Copy a version's files into a temporary folder, fsynced.

        Raises InvalidAdapterError or InvalidWeightsError for links or missing files.
        """
        self._check_files(source, kind)
        incoming = self.make_dir(self._inside("incoming"))
        with storage_faults(f"copy {source}"):
            staged = Path(tempfile.mkdtemp(dir=incoming))
            for name in version_files(source, kind):
                shutil.copyfile(source / name, staged / name)
                sync(staged / name)
            staged.chmod(0o755)
            sync(staged)
        return staged

    def adopt(self, source: Path, version: str) -> Path:
        """Copy a version's files into versions/ in one step; return the folder. What lay there is replaced."""
        return self.place(self.stage(source), version)

    def place(self, staged: Path, version: str) -> Path:
        """Put a staged folder where `version` lies. A leftover of a registration that failed gives way."""
        target = self.version_dir(*split_version(version))
        with storage_faults(f"write {target}"):
            target.parent.mkdir(parents=True, exist_ok=True)
            self.discard(target)
            os.replace(staged, target)
            sync(target.parent)
        return target

    def discard(self, path: Path) -> None:
        """Delete a folder or file of this store; none there is fine."""
        if not path.is_relative_to(self.root):
            raise InvalidRequestError(f"{path.name} does not lie under the artifact root.")
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    def _inside(self, *parts: str) -> Path:
        """Join parts that are ids or names, each checked; no link below the root is followed."""
        path = self.root
        for part in parts:
            if not _FOLDER.fullmatch(part):
                raise InvalidRequestError(f"{part!r} cannot be part of a path.")
            path = path / part
            if path.is_symlink():
                raise InvalidRequestError(f"{path.relative_to(self.root)} is a symbolic link; links are not followed.")
        return path

    def _check_files(self, source: Path, kind: Kind) -> None:
        if not source.is_relative_to(self.root):
            raise REFUSED[kind](f"The folder {source.name} does not lie under the artifact root.")
        path = source
        while path != self.root:
            if path.is_symlink():
                raise REFUSED[kind](f"{path.relative_to(self.root)} is a symbolic link; links are not followed.")
            path = path.parent
        if ".." in source.parts:
            raise REFUSED[kind](f"The folder {source.name} leads upwards.")
        shown = source.relative_to(self.root)
        with storage_faults(f"read {source}"):
            names = version_files(source, kind)
        for name in names:
            path = source / name
            if path.is_symlink() or not path.is_file():
                raise REFUSED[kind](f"The folder {shown} has no plain file {name}.")
        if kind == "full" and not any(name.endswith(WEIGHTS_SUFFIX) for name in names):
            raise InvalidWeightsError(f"The folder {shown} has no *{WEIGHTS_SUFFIX}: save the model again.")


def sync(path: Path) -> None:
    """Have a file's content, or a folder's names, survive the loss of power; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
