"""The README's commands work as they stand: each block is run, in order, against the real app on the fake engine."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
DOCUMENTED = "http://127.0.0.1:8400"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_readme_has_curl_for_each_of_the_three_calls() -> None:
    text = "\n".join(blocks("bash"))
    assert all(f"{DOCUMENTED}/{call}" in text for call in ("explain", "score", "train"))


def test_readme_curl_examples_run_in_order_and_succeed(fake_server: str, tmp_path: Path) -> None:
    for block in blocks("bash"):
        script = "set -euo pipefail\n" + block.replace(DOCUMENTED, fake_server).replace(
            "curl -s", "curl -sS --fail-with-body"
        )
        found = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert found.returncode == 0, f"{block}\n{found.stdout}\n{found.stderr}"
        assert '"object"' in found.stdout


@pytest.mark.parametrize("block", blocks("python"))
def test_readme_python_example_runs(block: str, fake_server: str) -> None:
    environment = {**os.environ, "RLT_BASE_URL": fake_server}
    found = subprocess.run(
        [sys.executable, "-c", block], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip()
