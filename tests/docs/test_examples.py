"""The scripts of examples/ run as they stand, against the real app on the fake engine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))


def test_there_are_examples_and_they_are_short() -> None:
    assert EXAMPLES
    assert [one.name for one in EXAMPLES if len(one.read_text(encoding="utf-8").splitlines()) > 80] == []


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda script: script.stem)
def test_an_example_runs_and_says_something(script: Path, fake_server: str) -> None:
    environment = {**os.environ, "RLT_BASE_URL": fake_server}
    found = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip()
