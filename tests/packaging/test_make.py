"""What make does of itself: it installs once, and again only when the lock has changed."""

import os
from pathlib import Path

from tests.support.make import run_make


def plan(goal: str, *, environment: Path) -> str:
    """Ask make what it would run for a goal, without running it."""
    done = run_make("--dry-run", goal, f"VENV={environment}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_second_demo_installs_nothing(tmp_path: Path) -> None:
    assert "pip install" in plan("demo", environment=tmp_path)
    (tmp_path / ".installed").touch()
    assert plan("demo", environment=tmp_path).split()[-3:] == [f"{tmp_path}/bin/python", "-m", "rlt_client.demo"]
    assert "pip install" not in plan("test", environment=tmp_path)


def test_a_changed_lock_is_installed(tmp_path: Path) -> None:
    (tmp_path / ".installed").touch()
    os.utime(tmp_path / ".installed", (0, 0))
    assert "pip install" in plan("demo", environment=tmp_path)
