import ast
from pathlib import Path

import pytest

from rlt_service.launch import __main__, python_version


@pytest.mark.parametrize("minor", [6, 10])
def test_an_old_python_is_told_what_to_install(minor: int) -> None:
    said = python_version.complaint(3, minor)
    assert "3.11 or newer" in said
    assert f"this is 3.{minor}" in said
    assert "python3.11 -m venv" in said


def test_a_new_python_is_taken() -> None:
    assert python_version.complaint(3, 11) == ""
    assert python_version.complaint(4, 0) == ""


@pytest.mark.parametrize("module", [__main__, python_version])
def test_what_runs_first_can_be_read_by_an_old_python(module: object) -> None:
    source = Path(str(getattr(module, "__file__"))).read_text(encoding="utf-8")  # noqa: B009 - a module's attribute
    ast.parse(source, feature_version=(3, 7))
