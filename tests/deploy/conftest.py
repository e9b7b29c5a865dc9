"""Fixtures for images, compose file, chart and workflows: where the tools are that look at them."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def tools() -> Path:
    """Give the folder with the programs of requirements/tools.lock.txt (`make tools`)."""
    folder = Path(os.environ.get("RLT_TOOLS") or ROOT / ".tools") / "bin"
    if not (folder / "hadolint").is_file():
        if os.environ.get("RLT_TEST_TOOLS") == "required":
            pytest.fail(f"no tools in {folder}: run `make tools`")
        pytest.skip(f"no tools in {folder}: `make tools` installs them")
    return folder
