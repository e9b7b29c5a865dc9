"""Own the question whether a copied checkpoint is whole, by the manifest that the trainer wrote into it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rlt_service.backup.manifest import BackupFile

MANIFEST: Final = "manifest.json"


def is_whole_checkpoint(copy: Path, files: Sequence[BackupFile], *, manifest_sha256: str) -> bool:
    """Tell whether a copy holds the announced manifest, and every file as that says."""
    root = next((file.path.removesuffix(f"/{MANIFEST}") for file in files if file.sha256 == manifest_sha256), None)
    if root is None:
        return False
    try:
        wanted: dict[str, dict[str, Any]] = json.loads((copy / MANIFEST).read_bytes())["files"]
        expected = {name: (facts["size"], facts["sha256"]) for name, facts in wanted.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return False
    found = {file.path.removeprefix(f"{root}/"): (file.size, file.sha256) for file in files}
    found.pop(MANIFEST, None)
    return found == expected
