"""An old Python is told so in one sentence: by make, by `rlt up`, by the server, and by the SDK when it is imported."""

import ast
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

import rlt_service.__main__
import rlt_service.launch.__main__
from rlt_core import python_version
from tests.support.make import run_make

# A Python that takes itself for 3.10.
AGED = "import sys; sys.version_info = (3, 10, 0, 'final', 0); sys.version = '3.10.0 (old)'; "


@pytest.mark.parametrize("minor", [6, 10])
def test_an_old_python_is_told_what_to_install(minor: int) -> None:
    said = python_version.complaint(3, minor)
    assert "3.11 or newer" in said
    assert f"this is 3.{minor}" in said
    assert "python3.11 -m venv" in said


def test_a_new_python_is_taken() -> None:
    assert python_version.complaint(3, 11) == ""
    assert python_version.complaint(4, 0) == ""


@pytest.mark.parametrize("main", [rlt_service.__main__.main, rlt_service.launch.__main__.main])
def test_the_server_does_not_start_on_an_old_python(
    main: Callable[[tuple[int, int]], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main((3, 10)) == 1
    assert capsys.readouterr().err == f"error: {python_version.complaint(3, 10)}\n"


def test_the_sdk_is_not_imported_on_an_old_python() -> None:
    done = subprocess.run(
        [sys.executable, "-c", AGED + "import rlt_client"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"ImportError: {python_version.complaint(3, 10)}"


def test_make_makes_no_environment_with_an_old_python(tmp_path: Path) -> None:
    old = tmp_path / "python3.10"
    old.write_text(
        f"""#!/bin/sh
if [ "$1" = -c ]; then exec "{sys.executable}" -c "{AGED} exec(sys.argv[1])" "$2"; fi
exec "{sys.executable}" "$@"
"""
    )
    old.chmod(0o755)
    done = run_make("setup", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}")
    assert done.returncode != 0
    assert "RLT needs Python 3.11 or newer, this is 3.10.0: install one" in done.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    "module",
    [
        "rlt_client",
        "rlt_core",
        "rlt_core.python_version",
        "rlt_service",
        "rlt_service.__main__",
        "rlt_service.launch",
        "rlt_service.launch.__main__",
    ],
)
def test_what_runs_first_can_be_read_by_an_old_python(module: str) -> None:
    found = find_spec(module)
    assert found is not None
    assert found.origin is not None
    ast.parse(Path(found.origin).read_text(encoding="utf-8"), feature_version=(3, 7))
