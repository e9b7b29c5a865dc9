"""Own by which names the server may be addressed. Plain ASGI.

A page can have its own name point at 127.0.0.1 for a moment (DNS rebinding); its calls then are of its own site to the
browser, and reach a server without keys. They still name the page's host.
"""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from rlt_core.errors import ForbiddenError
from rlt_service.listening import is_loopback
from rlt_service.problems import answer_of
from rlt_service.settings import Settings

ANY = "*"


class KnownHosts:
    """Lets calls through that name a host of ours, an address in figures, or (old programs) none."""

    def __init__(self, app: ASGIApp, *, allowed: Collection[str]) -> None:
        self._app = app
        self._allowed = frozenset(name.lower().rstrip(".") for name in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call, or answer 403."""
        if scope["type"] in ("http", "websocket") and ANY not in self._allowed:
            for host in Headers(scope=scope).getlist("host"):
                if not self._is_known(host):
                    error = ForbiddenError(
                        f"this server is not known as {host[:80]!r}: address it as localhost or 127.0.0.1, or name "
                        "the host in RLT_ALLOWED_HOSTS"
                    )
                    if scope["type"] == "websocket":
                        await refuse_socket(receive, send)
                        return
                    await answer_of(error, request_id=scope["state"]["request_id"])(scope, receive, send)
                    return
        await self._app(scope, receive, send)

    def _is_known(self, host: str) -> bool:
        name = _name_of(host)
        return name is not None and (name in self._allowed or _is_address(name))


def allowed_hosts(settings: Settings) -> Collection[str]:
    """Give the names that settings allow; where others reach the server they need a key, whatever they call it."""
    if settings.allowed_hosts is not None:
        return settings.allowed_hosts
    return ("localhost", settings.host) if is_loopback(settings.host) else (ANY,)


async def refuse_socket(receive: Receive, send: Send) -> None:
    """Close a socket before it was opened: whoever asks sees a 403."""
    await receive()
    await send({"type": "websocket.close", "code": 1008})


def _name_of(host: str) -> str | None:
    try:
        found = urlsplit(f"//{host}")
        _ = found.port  # raises where it is none
    except ValueError:
        return None
    if found.username is not None or found.path or found.query or found.fragment:
        return None
    return (found.hostname or "").rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
