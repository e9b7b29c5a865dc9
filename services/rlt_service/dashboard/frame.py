"""Own what stands around every page: head, ways to the other pages, light and dark, and what the API refuses."""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, Literal

from nicegui import ui
from starlette.requests import Request

from rlt_service.dashboard.frame_files import scripts, style
from rlt_service.dashboard.gateway import RefusedError
from rlt_service.dashboard.markup import EMPTY, Markup, tag
from rlt_service.dashboard.tables import refusal
from rlt_service.dashboard.visits import THEME_COOKIE, Visit, visit_of

Look = Literal["plain", "primary", "danger", "quiet"]
Build = Callable[[Visit], Awaitable[None]]
BUILD_S: Final = 20.0
"""How long a page may take to be made; a page over a slow database is better late than an error."""
NAVIGATION: Final = (
    ("/", "Try"),
    ("/jobs", "Jobs"),
    ("/models", "Teachers and students"),
    ("/datasets", "Datasets"),
    ("/evaluations", "Evaluations"),
    ("/system", "System"),
    ("/access", "Access"),
)
THEMES: Final = {"system": None, "light": False, "dark": True}


def add_page(path: str, *, title: str, build: Build, current: str | None = None) -> None:
    """Serve a page; `current` is the address that the navigation marks."""

    @ui.page(path, title=f"{title} · RLT", response_timeout=BUILD_S)
    async def shown(request: Request) -> None:
        visit = visit_of(request)
        with framed(visit, current=current or path):
            try:
                await build(visit)
            except RefusedError as error:
                refused(error)


def raw(markup: Markup = EMPTY) -> ui.html:
    """Put HTML into the page that was made, and escaped, by `markup`."""
    return ui.html(markup, sanitize=False)


def button(text: str, do: Callable[[], Any], *, look: Look = "plain") -> ui.button:
    """Make a button in the dashboard's own look, the same as that of links and forms."""
    made = ui.button(text, on_click=do, color=None).props("no-caps unelevated")
    return made.classes("button" if look == "plain" else f"button {look}")


def refused(error: RefusedError) -> None:
    """Show what the API refused."""
    raw(refusal(error.detail, code=error.code, param=error.param, extra=error.extra))


def navigation(current: str) -> Markup:
    """Write the ways to the other pages."""
    links = [
        tag("a", name, href=address, aria_current="page" if address == current else None)
        for address, name in NAVIGATION
    ]
    return tag("nav", links, class_="nav", aria_label="Pages")


@contextmanager
def framed(visit: Visit, *, current: str) -> Generator[None]:
    """Lay the frame; what is made within stands in its middle."""
    ui.add_head_html(f"<style>{style()}</style><script>{scripts()}</script>")
    dark = ui.dark_mode(THEMES.get(visit.theme or "system"))
    with ui.header(elevated=False).classes("top"):
        raw(tag("a", "RLT", tag("small", "reinforcement learning teachers"), href="/", class_="brand"))
        raw(navigation(current)).classes("grow ways")
        _theme_button(dark, visit.theme if visit.theme in THEMES else "system")
        if visit.signed_in:
            leave = tag("button", "Sign out", type="submit", class_="button")
            raw(tag("form", leave, method="post", action="/sign-out"))
    middle = ui.element("div").classes("page")
    ui.skip_link(target=middle)
    with middle:
        yield


def confirm(
    title: str, text: str, *, yes: str, action: Callable[[], Awaitable[None]], dangerous: bool = False
) -> ui.dialog:
    """Make a dialog that asks before something is done; what the API refuses then is told in it."""
    with ui.dialog().props(f'aria-label="{title}"') as dialog, ui.card().classes("card"):
        raw(tag("h2", title))
        raw(tag("p", text))
        said = ui.element("div")

        async def do() -> None:
            said.clear()
            try:
                await action()
                dialog.close()
            except RefusedError as error:
                with said:
                    refused(error)

        with ui.element("div").classes("bar").style("margin-top: 16px"):
            button(yes, do, look="danger" if dangerous else "primary")
            button("Leave it", dialog.close)
    return dialog


def _theme_button(dark: ui.dark_mode, theme: str | None) -> None:
    names = list(THEMES)
    chosen = theme or "system"

    def next_theme() -> None:
        nonlocal chosen
        chosen = names[(names.index(chosen) + 1) % len(names)]
        dark.value = THEMES[chosen]
        made.text = f"Theme: {chosen}"
        ui.run_javascript(f"document.cookie = '{THEME_COOKIE}={chosen}; path=/; max-age=31536000; samesite=strict'")

    made = button(f"Theme: {chosen}", next_theme, look="quiet")
