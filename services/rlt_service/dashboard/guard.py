"""Own who may open the dashboard: on a server with keys, holders of one. Plain ASGI, around every page and socket."""

from collections.abc import MutableMapping
from typing import Any, Final
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rlt_core.errors import ForbiddenError, UnauthenticatedError
from rlt_service.container import Services
from rlt_service.cross_site import is_foreign
from rlt_service.dashboard.visits import APP, KEY_COOKIE
from rlt_service.host_names import refuse_socket
from rlt_service.problems import answer_of

SOCKET: Final = "/_nicegui_ws"
OPEN_FILES: Final = ("/_nicegui/", "/favicon.ico")
"""Scripts and styles, the same for all; of what lies there, only uploads are anybody's own."""
POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
"""Nothing from elsewhere, and in nobody's frame; the framework's page brings its own scripts inline."""


class Guarded:
    """The dashboard for those who may see it."""

    def __init__(self, dashboard: ASGIApp) -> None:
        self._dashboard = dashboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a page, a file or a socket; or refuse it, or lead to where one signs in."""
        connection = HTTPConnection(scope)
        path: str = scope["path"]
        if path.startswith(SOCKET) and is_foreign(connection.headers):
            await _refuse(scope, receive, send)
            return
        if not _is_open(scope) and not await is_known(connection):
            if path.startswith("/_nicegui"):
                await _refuse(scope, receive, send)
                return
            asked = f"{path}?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else path
            await RedirectResponse(f"/sign-in?next={quote(asked, safe='')}", status_code=303)(scope, receive, send)
            return
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        state[APP] = scope["app"]
        await self._dashboard(scope, receive, _with_policy(send))


async def is_known(connection: HTTPConnection, *, key: str | None = None) -> bool:
    """Tell whether a visitor may see pages: on a server without keys everyone who reaches it."""
    services: Services = connection.app.state.services
    given = key if key is not None else connection.cookies.get(KEY_COOKIE)
    headers = Headers({"authorization": f"Bearer {given}"} if given and given.isascii() else {})
    try:
        await services.authenticator.key_of(headers)
    except UnauthenticatedError:
        return False
    return True


def _is_open(scope: Scope) -> bool:
    path: str = scope["path"]
    return scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and path.startswith(OPEN_FILES)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await refuse_socket(receive, send)
        return
    error = ForbiddenError("this part of the dashboard belongs to a page that you have not opened: load the page anew")
    await answer_of(error, request_id=scope["state"]["request_id"])(scope, receive, send)


def _with_policy(send: Send) -> Send:
    async def send_guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = POLICY
            headers["X-Content-Type-Options"] = "nosniff"
            headers["X-Frame-Options"] = "DENY"
            headers["Referrer-Policy"] = "same-origin"
            if "access-control-allow-origin" in headers:
                del headers["access-control-allow-origin"]
        await send(message)

    return send_guarded
