"""Own how the dashboard becomes part of the app: its pages' paths and no others, in the process that serves."""

import os
from importlib.util import find_spec
from typing import Final

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from rlt_core.errors import ConfigurationError
from rlt_service.dashboard.markup import tag
from rlt_service.dashboard.signing_in import ROUTES, plain_page
from rlt_service.settings import Settings

FIRST_SEGMENTS: Final = frozenset(
    {"", "jobs", "models", "datasets", "evaluations", "system", "access", "_nicegui", "_nicegui_ws", "favicon.ico"}
)
RECONNECT_S: Final = 5.0
"""How long a page may be away, as while a laptop sleeps for a moment, until its server side is forgotten."""


def add_dashboard(app: FastAPI, settings: Settings) -> None:
    """Serve the dashboard at `/` where the settings want it; once a process, since its framework holds one site.

    Raises ConfigurationError where it is wanted and cannot be.
    """
    if settings.dashboard == "off" or "control" not in settings.roles:
        if settings.dashboard == "on":
            raise ConfigurationError("RLT_DASHBOARD is on, and this process does not play control: add it to RLT_ROLES")
        return
    if find_spec("nicegui") is None:
        if settings.dashboard == "on":
            raise ConfigurationError("RLT_DASHBOARD is on, and nicegui is not installed: pip install 'rlt[dashboard]'")
        app.router.routes.append(Route("/", hint, methods=["GET"]))
        return
    app.router.routes.extend([*ROUTES, PagesRoute(_site(app, settings))])


async def hint(_request: Request) -> Response:
    """Say where the dashboard would come from."""
    text = "The service runs. For its dashboard: pip install 'rlt[dashboard]', then start it again."
    return HTMLResponse(plain_page("RLT", tag("div", tag("h1", "RLT"), tag("p", text), class_="card")))


class PagesRoute(BaseRoute):
    """Takes the pages' own paths, so that all others keep the API's answers."""

    def __init__(self, site: ASGIApp) -> None:
        self._site = site

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether a call is for a page, or for what pages need."""
        if scope["type"] not in ("http", "websocket"):
            return Match.NONE, {}
        first = str(scope["path"]).split("/")[1] if str(scope["path"]).startswith("/") else "-"
        of_framework = first.startswith("_nicegui")
        if first not in FIRST_SEGMENTS or not (of_framework or scope.get("method") in ("GET", "HEAD")):
            return Match.NONE, {}
        return Match.FULL, {"endpoint": self._site}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve it."""
        await self._site(scope, receive, send)


def _site(app: FastAPI, settings: Settings) -> ASGIApp:
    """Start the framework and lay the pages; its own mount, which would take every path, gives way to ours."""
    os.environ.setdefault("NICEGUI_STORAGE_PATH", str(settings.home / "dashboard"))
    # Half a second and forty megabytes: only where it is served.
    from nicegui import core, ui

    from rlt_service.dashboard.guard import Guarded
    from rlt_service.dashboard.pages import lay_pages

    lay_pages()
    ui.run_with(  # pyright: ignore[reportUnknownMemberType] - its `root` says nothing of its parameters
        app,
        title="RLT",
        language="en-US",
        dark=None,
        reconnect_timeout=RECONNECT_S,
        show_welcome_message=False,
        cache_control_directives="public, max-age=86400",
    )
    mounted = app.router.routes.pop()
    if not (isinstance(mounted, Mount) and mounted.app is core.app):
        raise ConfigurationError("this nicegui mounts itself in another way than 3.x: install nicegui>=3.18,<4")
    return Guarded(core.app)
