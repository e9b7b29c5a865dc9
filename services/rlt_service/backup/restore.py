"""Own the way from a backup to a state folder: verified as it is copied, brought up to date, put in place at once."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from rlt_core.errors import ConfigurationError, InconsistentStateError, InvalidBackupError
from rlt_service.backup.contents import named_artifacts
from rlt_service.backup.durable_files import copy_file, sync_tree
from rlt_service.backup.manifest import ARTIFACTS, DATABASE, BackupFile, Manifest, read_manifest
from rlt_service.backup.places import put_in_place, unfinished_folder
from rlt_service.backup.progress import Progress
from rlt_service.launch.state_folder import StateFolder
from rlt_service.store.database import Database
from rlt_service.store.faults import storage_faults
from rlt_service.store.jobs import JobStore
from rlt_service.store.migration import MIGRATIONS

REASON = "restored from a backup: the attempt that ran then is not in it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What became of a restore."""

    manifest: Manifest
    former: Path | None
    """Where the state that lay there lies now; null where there was none."""


def restore(backup: Path, home: Path, *, replace: bool, progress: Progress) -> Restored:
    """Make `home` the state that a backup holds. It is as it was before, or whole, whenever this is broken off.

    Raises InvalidBackupError for the backup, ConfigurationError for a home that holds something (without `replace`) or
    is in use, StorageUnavailableError.
    """
    manifest = read_manifest(backup)
    _check_schema(manifest)
    home = home.absolute()
    with _held(home, replace=replace), storage_faults(f"restore to {home}"), unfinished_folder(home) as folder:
        _copy(backup, manifest, folder, progress=progress)
        if manifest.database == "sqlite":
            _bring_up(folder)
        (folder / ARTIFACTS).mkdir(exist_ok=True)
        sync_tree(folder)
        return Restored(manifest=manifest, former=put_in_place(folder, home))


@contextmanager
def _held(home: Path, *, replace: bool) -> Generator[None]:
    """Keep servers and workers away from a folder that is to be replaced; refuse it where it may not be."""
    if home.is_symlink() or (home.exists() and not home.is_dir()):
        raise ConfigurationError(f"{home} is no folder of its own (a file or a link): name another with --home.")
    if not home.exists() or not any(home.iterdir()):
        yield
        return
    folder = StateFolder(home)
    with ExitStack() as stack:
        folder.take()
        stack.push(folder)
        folder.take_alone()
        if not replace:
            raise ConfigurationError(
                f"{home} holds something already: name a new folder with --home, or say --replace, which puts what is "
                "there beside it under another name."
            )
        yield


def _check_schema(manifest: Manifest) -> None:
    script = ScriptDirectory(str(MIGRATIONS))
    known = {revision.revision for revision in script.walk_revisions()}
    if manifest.schema_revision not in known:
        raise InvalidBackupError(
            f"The backup was written by a newer RLT ({manifest.rlt}, schema {manifest.schema_revision}; this one knows "
            f"up to {script.get_current_head()}): install that version to restore it."
        )


def _copy(backup: Path, manifest: Manifest, folder: Path, *, progress: Progress) -> None:
    with progress.copying(sum(file.size for file in manifest.files)) as advance:
        for file in manifest.files:
            _copy_verified(backup, file, folder / file.path, advance=advance)


def _copy_verified(backup: Path, file: BackupFile, target: Path, *, advance: Callable[[int], None]) -> None:
    source = backup
    for part in Path(file.path).parts:
        source = source / part
        if source.is_symlink():
            raise InvalidBackupError(f"{source} is a symbolic link; links are not followed. Take another backup.")
    try:
        size, sha256 = copy_file(source, target, advance=advance)
    except (FileNotFoundError, NotADirectoryError, InconsistentStateError) as error:
        raise InvalidBackupError(
            f"The backup lacks the file {file.path}: it is not whole. Take another one."
        ) from error
    if (size, sha256) != (file.size, file.sha256):
        raise InvalidBackupError(
            f"The backup's file {file.path} is not as it was written ({size} bytes, sha256 {sha256}; the manifest has "
            f"{file.size}, {file.sha256}): it was changed or damaged. Take another backup."
        )


def _bring_up(folder: Path) -> None:
    """Migrate the database, see that nothing it names is missing, and give back what ran when it was copied."""
    url = f"sqlite:///{folder / DATABASE}"
    database = Database(url)
    try:
        database.start()
        jobs = JobStore(database)
        for job in jobs.running():
            jobs.requeue(job.id, job.attempt, REASON, crash=False)
    finally:
        database.close()
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        for item in named_artifacts(connection):
            if item.need == "always" and not (folder / ARTIFACTS / item.path).exists():
                raise InvalidBackupError(f"The backup lacks {item.what}, which its database names. Take another one.")
    (folder / f"{DATABASE}.lock").unlink(missing_ok=True)
