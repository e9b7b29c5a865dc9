"""Own a backup from its first byte to its name: database, then what it names, then the manifest, then one rename."""

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from rlt_core.artifacts import version_sha256
from rlt_core.errors import ConfigurationError, InconsistentStateError
from rlt_core.schemas.base import now_utc
from rlt_service.artifact_root import artifacts_of
from rlt_service.backup.contents import Named, named_artifacts
from rlt_service.backup.databases import copied_database, database_of
from rlt_service.backup.durable_files import copy_file, plain_files, sync_tree
from rlt_service.backup.manifest import ARTIFACTS, DATABASE, DUMP, BackupFile, Manifest, is_backup_path, write_manifest
from rlt_service.backup.places import put_in_place, unfinished_folder
from rlt_service.backup.progress import Progress
from rlt_service.backup.trained import is_whole_checkpoint
from rlt_service.settings import Settings
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.faults import storage_faults
from rlt_service.store.shared_files import fetch_dataset, fetch_version

ROUNDS: Final = 5
"""Snapshots that are tried: one is left behind where what it names was deleted before it could be copied."""


@dataclass(slots=True)
class _Copies:
    """What has been copied so far; immutable, so a later round need not copy it again."""

    folder: Path
    files: dict[str, list[BackupFile]] = field(default_factory=dict[str, list[BackupFile]])


def back_up(settings: Settings, target: Path, *, progress: Progress) -> Manifest:
    """Copy the state to `target`, a folder that is not there yet, while the service runs; give what was copied.

    Raises ConfigurationError, StorageUnavailableError, InconsistentStateError; then there is no `target`.
    """
    if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        raise ConfigurationError(f"{target} is there already: a backup makes a folder of its own, name a new one.")
    target = target.absolute()
    with storage_faults(f"write the backup {target}"), unfinished_folder(target) as folder:
        manifest = _fill(settings, folder, progress=progress)
        sync_tree(folder)
        write_manifest(manifest, folder)
        put_in_place(folder, target)
    return manifest


def _fill(settings: Settings, folder: Path, *, progress: Progress) -> Manifest:
    url = database_of(settings.database)
    copies, artifacts = _Copies(folder / ARTIFACTS), artifacts_of(settings)
    round_ = 1
    while True:
        with copied_database(url, folder, show=progress.say) as connection:
            revision, named = _revision(connection), named_artifacts(connection)
        _fetch(artifacts, named)
        missing = _copy(settings.artifacts, named, copies, progress=progress)
        torn = [item for item in missing if item.need == "always"]
        if not missing or (round_ == ROUNDS and not torn):
            break
        if round_ == ROUNDS:
            raise InconsistentStateError(_torn(torn, settings.artifacts))
        progress.say(f"{missing[0].what} has gone meanwhile: looking again")
        round_ += 1
    for item in missing:
        progress.say(f"without {item.what}, which is not there whole: that job begins anew after a restore")
    for path in set(copies.files) - {item.path for item in named}:  # deleted since an earlier round
        _discard(copies, path)
    is_sqlite = url.get_backend_name() == "sqlite"
    return Manifest(
        rlt=version("rlt"),
        created_at=now_utc(),
        database="sqlite" if is_sqlite else "postgresql",
        schema_revision=revision,
        files=[
            _described(folder, DATABASE if is_sqlite else DUMP),
            *(file for path in sorted(copies.files) for file in copies.files[path]),
        ],
    )


def _fetch(artifacts: ArtifactStore, named: Sequence[Named]) -> None:
    """Bring here what machines share and this one has not fetched yet; what was deleted meanwhile stays missing."""
    for item in named:
        place = Path(item.path)
        with contextlib.suppress(InconsistentStateError):
            if item.dataset_sha256 is not None:
                fetch_dataset(artifacts, dataset_id=place.stem, sha256=item.dataset_sha256)
            elif item.kind is not None and item.sha256 is not None:
                version = f"{place.parent.name}@{place.name}"
                fetch_version(artifacts, artifacts.root / place, item.kind, version=version, sha256=item.sha256)


def _described(folder: Path, name: str) -> BackupFile:
    with (folder / name).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return BackupFile(path=name, size=file.tell(), sha256=digest)


def _torn(missing: Sequence[Named], root: Path) -> str:
    item = missing[0]
    more = f", and of {len(missing) - 1} more" if len(missing) > 1 else ""
    return (
        f"The files of {item.what}{more} are not there as they were registered, at {root / item.path}: delete it by "
        "the API, or put its files back; a backup without them would not be whole."
    )


def _copy(root: Path, named: Sequence[Named], copies: _Copies, *, progress: Progress) -> list[Named]:
    """Copy what is not there yet; give what could not be had whole."""
    todo = [item for item in named if item.path not in copies.files]
    missing: list[Named] = []
    with progress.copying(sum(_size(root / item.path) for item in todo)) as advance:
        for item in todo:
            files = _copy_one(root, item, copies, advance=advance)
            if files is not None:
                copies.files[item.path] = files
            elif item.need != "extra":
                missing.append(item)
    return missing


def _copy_one(root: Path, item: Named, copies: _Copies, *, advance: Callable[[int], None]) -> list[BackupFile] | None:
    source, target = root / item.path, copies.folder / item.path
    files: list[BackupFile] = []
    try:
        for file in plain_files(source) if source.is_dir() else (source,):
            path = f"{ARTIFACTS}/{file.relative_to(root)}"
            if not is_backup_path(path):
                raise InconsistentStateError(f"{file} has a name that this project does not give: move it away.")
            size, sha256 = copy_file(file, copies.folder / file.relative_to(root), advance=advance)
            files.append(BackupFile(path=path, size=size, sha256=sha256))
        if files and _is_whole(item, target, files):
            return files
    except FileNotFoundError:
        pass
    _discard(copies, item.path)
    return None


def _is_whole(item: Named, copy: Path, files: Sequence[BackupFile]) -> bool:
    """Hold a copy against what was registered: a deletion that runs meanwhile leaves a part of a folder."""
    if item.kind is not None:
        return version_sha256(copy, item.kind) == item.sha256
    if item.sha256 is not None:
        return is_whole_checkpoint(copy, files, manifest_sha256=item.sha256)
    return True


def _discard(copies: _Copies, path: str) -> None:
    copies.files.pop(path, None)
    place = copies.folder / path
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


def _size(path: Path) -> int:
    """Tell how much there is to copy, for the progress alone."""
    try:
        return sum(file.stat().st_size for file in (plain_files(path) if path.is_dir() else (path,)))
    except (OSError, InconsistentStateError):
        return 0


def _revision(connection: Connection) -> str:
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is None:
        raise InconsistentStateError("The database has no schema yet: start the service once.")
    return revision
