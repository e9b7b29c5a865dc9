"""A browser's page that notes everything which should not happen: errors, failed requests, calls to elsewhere."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route

SERIOUS = ("serious", "critical")
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 860}


@contextmanager
def watched(
    browser: Browser, url: str, *, theme: Literal["light", "dark"] = "light", phone: bool = False
) -> Generator[Page]:
    """Open a page; leaving the block fails on everything that went wrong in it."""
    size: Any = PHONE if phone else DESK
    context = browser.new_context(
        base_url=url, viewport=size, color_scheme=theme, has_touch=phone, reduced_motion="reduce"
    )
    wrong: list[str] = []

    def pass_own(route: Route) -> None:
        if route.request.url.startswith((url, "data:", "blob:")):
            route.continue_()
        else:
            wrong.append(f"asked elsewhere: {route.request.url}")
            route.abort()

    context.route("**/*", pass_own)
    page = context.new_page()
    page.set_default_timeout(15_000)
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on("console", lambda said: wrong.append(f"console: {said.text}") if said.type == "error" else None)
    page.on("response", lambda got: wrong.append(f"{got.status} {got.url}") if got.status >= 400 else None)
    page.on("requestfailed", lambda sent: _note_failed(sent, wrong))
    try:
        yield page
    finally:
        context.close()
    assert wrong == []


def _note_failed(sent: Any, wrong: list[str]) -> None:
    if "ERR_ABORTED" not in str(sent.failure):  # the page was left meanwhile
        wrong.append(f"failed: {sent.url} {sent.failure}")


def barriers(page: Page) -> list[str]:
    """Name what axe finds serious or critical."""
    found: Any = Axe().run(page).response
    return [
        f"{one['id']} ({one['impact']}): {[node['html'][:160] for node in one['nodes'][:3]]}"
        for one in found["violations"]
        if one["impact"] in SERIOUS
    ]


def ready(page: Page) -> None:
    """Wait until the page is drawn and connected."""
    page.wait_for_selector("h1")
    page.wait_for_function("() => window.did_handshake")


def scrolls_sideways(page: Page) -> bool:
    """Tell whether a page is wider than its window, once what was drawn for another width has been drawn anew."""
    page.wait_for_timeout(200)
    return bool(page.evaluate("() => document.documentElement.scrollWidth > document.documentElement.clientWidth"))


def drop(page: Page, place: str, file: Path) -> None:
    """Drop a file onto a place of a page."""
    page.locator(place).evaluate(
        """(place, [name, text]) => {
            const carried = new DataTransfer();
            carried.items.add(new File([text], name));
            const happen = (where, type) =>
                where.dispatchEvent(new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: carried }));
            happen(place, "dragover");
            requestAnimationFrame(() => happen(place.querySelector(".q-uploader__dnd") ?? place, "drop"));
        }""",
        [file.name, file.read_text(encoding="utf-8")],
    )
