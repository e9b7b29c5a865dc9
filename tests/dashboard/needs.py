"""What a test in a browser needs: it is skipped where that is missing, and says so."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest

CHROMIUM: Final = Path("/usr/bin/chromium")
PACKAGES: Final = ("nicegui", "playwright", "axe_playwright_python")


def missing() -> str | None:
    """Say what is missing here."""
    lacking = [package for package in PACKAGES if find_spec(package) is None]
    if lacking:
        return f"{', '.join(lacking)} is not installed: pip install -e '.[dashboard,dev]'"
    return None if CHROMIUM.exists() else f"no {CHROMIUM}: apt-get install chromium"


def skip_without_browser() -> None:
    """Leave out a whole module where something is missing; where RLT_TEST_BROWSER is `required`, fail instead."""
    if (reason := missing()) is None:
        return
    if os.environ.get("RLT_TEST_BROWSER") == "required":
        pytest.fail(reason)
    pytest.skip(reason, allow_module_level=True)
