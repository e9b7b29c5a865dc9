"""Refuse what a foreign web page sends through a visitor's browser. Plain ASGI.

A server on loopback has no keys, and a page anywhere can have a browser on the same machine post to it: a form, or text
that needs no leave. Browsers say where such a call comes from; tools and SDKs say nothing of the kind.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from rlt_core.errors import ForbiddenError
from rlt_service.problems import answer_of

_HARMLESS = frozenset({"GET", "HEAD", "OPTIONS"})


class OwnSiteOnly:
    """Lets calls that change something come from programs and from pages of this very server."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call, or answer 403."""
        if scope["type"] == "http" and scope["method"] not in _HARMLESS and is_foreign(Headers(scope=scope)):
            error = ForbiddenError(
                "this call was sent by a web page of another site: call the server from a program, or from a page that "
                "it serves itself"
            )
            await answer_of(error, request_id=scope["state"]["request_id"])(scope, receive, send)
            return
        await self._app(scope, receive, send)


def is_foreign(headers: Headers) -> bool:
    """Tell whether a browser says that a page of another site sends this."""
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return True
    origin = headers.get("origin")
    return origin is not None and _place_of(origin) != headers.get("host")


def _place_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:  # brackets that do not close
        return None
