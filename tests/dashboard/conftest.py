"""One server and one browser for all tests of the dashboard that need them."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.dashboard.site import Site

CHROMIUM = Path("/usr/bin/chromium")


def missing() -> str | None:
    """Say what a test in a browser lacks here."""
    packages = ("nicegui", "playwright", "axe_playwright_python")
    lacking = [package for package in packages if find_spec(package) is None]
    if lacking:
        return f"{', '.join(lacking)} is not installed: pip install -e '.[dashboard,dev]'"
    return None if CHROMIUM.exists() else f"no {CHROMIUM}: apt-get install chromium"


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    reason = missing()
    if reason is not None and os.environ.get("RLT_TEST_BROWSER") == "required":
        pytest.fail(reason)
    if reason is not None:
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(browser: "Browser", tmp_path_factory: pytest.TempPathFactory) -> "Iterator[Site]":
    from tests.dashboard.site import running_site

    assert browser.is_connected()
    with running_site(tmp_path_factory.mktemp("home")) as found:
        yield found
