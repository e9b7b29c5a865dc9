"""Own the list of a backup: every file with size and hash, written last. A folder without one is no backup."""

import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from rlt_core.errors import InvalidBackupError
from rlt_core.schemas.base import UtcTime, WireModel
from rlt_service.backup.durable_files import write_durable

MANIFEST: Final = "manifest.json"
DATABASE: Final = "rlt.db"
DUMP: Final = "rlt.dump"
"""Of Postgres, as pg_dump writes it."""
ARTIFACTS: Final = "artifacts"

# Relative, downwards, nothing hidden: what a manifest may name is what a backup writes.
_PATH = re.compile(r"^(rlt\.db|rlt\.dump|artifacts(/[A-Za-z0-9_][A-Za-z0-9._-]{0,127}){1,16})$")

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class BackupFile(WireModel):
    """One file, by its path below the backup's folder."""

    path: str
    size: int = Field(ge=0)
    sha256: Digest


class Manifest(WireModel):
    """What a backup holds."""

    layout: Literal[1] = 1
    """Of the backup's folder; another one is for another release."""
    rlt: str
    """The release that wrote it."""
    created_at: UtcTime
    database: Literal["sqlite", "postgresql"]
    schema_revision: str
    files: list[BackupFile]

    @model_validator(mode="after")
    def _paths_are_ours(self) -> "Manifest":
        paths = [file.path for file in self.files]
        for path in paths:
            if not is_backup_path(path):
                raise ValueError(f"it names {path!r}, which is no path of a backup")
        if len(set(paths)) != len(paths):
            raise ValueError("it names a file twice")
        database = DATABASE if self.database == "sqlite" else DUMP
        if database not in paths:
            raise ValueError(f"it names no {database}")
        return self


def is_backup_path(path: str) -> bool:
    """Tell whether a backup may hold a file of this path: below its folder, and nothing hidden on the way."""
    return _PATH.fullmatch(path) is not None


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Make a folder a backup: everything else must lie there by now."""
    write_durable(folder / MANIFEST, manifest.model_dump_json(indent=1).encode())


def read_manifest(folder: Path) -> Manifest:
    """Read what a backup holds; raises InvalidBackupError where it is none. The files are not looked at."""
    path = folder / MANIFEST
    if folder.is_symlink() or path.is_symlink():
        raise InvalidBackupError(f"{folder} is no backup that can be trusted: it is, or holds, a symbolic link.")
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise InvalidBackupError(
            f"{folder} is no backup: it has no {MANIFEST}, which is written last. Name one that `rlt backup` made."
        ) from error
    except OSError as error:
        raise InvalidBackupError(f"{path} cannot be read: {error}.") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidBackupError(
            f"{path} is not as this release writes it ({where or 'whole'}: {first['msg']}): take another backup, or "
            "the release that wrote it."
        ) from error
