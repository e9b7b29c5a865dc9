"""One server and one browser for all tests of the dashboard that need them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.dashboard.needs import CHROMIUM

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from tests.dashboard.site import Site


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
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
