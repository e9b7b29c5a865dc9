"""The code of the release before this one, out of the repository's history: its newest tag, or what stands for one."""

import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pytest

from rlt_service.store.migration import MIGRATIONS, newest_schema

ROOT = Path(__file__).parents[2]
PARTS = ("rlt_core", "rlt_tokens", "rlt_train", "clients", "services", "tests/jobs/stub_trainer.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviousRelease:
    """A release's code in a folder, run by the packages of this one."""

    name: str
    """Tag or commit."""
    folder: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """What has a Python import its code, and nothing of this release."""
        return python_path(self.folder)

    @property
    def stub_trainer(self) -> tuple[str, ...]:
        """Command of its own stub trainer."""
        return (sys.executable, str(self.folder / "tests" / "jobs" / "stub_trainer.py"))


def python_path(root: Path) -> Mapping[str, str]:
    """Name what a Python of a tree imports."""
    return {"PYTHONPATH": os.pathsep.join(str(root / part) for part in ("", "clients", "services"))}


def previous_release(folder: Path) -> PreviousRelease:
    """Lay its code into a folder; skips where the history is not there (a wheel, an archive, a shallow clone).

    As long as no release is tagged, the newest commit of the main line whose schema is older stands for it.
    """
    name = _git("describe", "--tags", "--abbrev=0", "--match", "v*", "HEAD^") or _before_the_newest_schema()
    packed = subprocess.run(
        ["git", "-C", str(ROOT), "archive", name, *PARTS], capture_output=True, timeout=60, check=True
    )
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return PreviousRelease(name=name, folder=folder)


def _before_the_newest_schema() -> str:
    (newest,) = (MIGRATIONS / "versions").glob(f"{newest_schema()}_*.py")
    path = str(newest.resolve().relative_to(ROOT))
    added = _git("log", "--first-parent", "-m", "--diff-filter=A", "--format=%H", "--", path).split()
    found = _git("rev-parse", "--verify", "--quiet", f"{added[-1]}^1^{{commit}}") if added else ""
    if not found:
        pytest.skip("the history of this repository is not there as far back as the release before this one")
    return found


def _git(*words: str) -> str:
    """Run git on this repository; empty where it does not answer, or is not there."""
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
