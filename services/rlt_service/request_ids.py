"""Own the outermost layer of every answer: its X-Request-Id, and the 500 for what nobody foresaw. Plain ASGI."""

import logging
import re
from collections.abc import Mapping, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rlt_core.log_records import bound
from rlt_core.schemas.base import new_id
from rlt_service.problems import answer_of, unexpected

LOGGER = logging.getLogger(__name__)

HEADER = "X-Request-Id"
_TAKEN_OVER = re.compile(r"[A-Za-z0-9._-]{1,128}")


class RequestIds:
    """Names each request, by the caller's id where it has a harmless form; never used as a key."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; an exception that comes this far becomes a problem, if the answer has not begun."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _choose(Headers(scope=scope).get(HEADER))
        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        state["request_id"] = request_id
        began = False

        async def send_named(message: Message) -> None:
            nonlocal began
            if message["type"] == "http.response.start":
                began = True
                MutableHeaders(scope=message)[HEADER] = request_id
            await send(message)

        try:
            with bound(request_id=request_id):
                await self._app(scope, receive, send_named)
        except Exception:  # the boundary of the request: the caller gets a problem, the log the traceback
            LOGGER.exception("request %s (%s %s) broke", request_id, scope["method"], scope["path"])
            if began:
                raise
            await answer_of(unexpected(request_id=request_id), request_id=request_id)(scope, receive, send_named)


def request_id_of(request: Request) -> str:
    """Read the id that this request has been given."""
    return str(request.state.request_id)


def request_id_in(scope: Scope) -> str | None:
    """Read the id that the request of a scope has been given; None outside of what gives one."""
    state: Mapping[str, Any] = scope.get("state", {})
    return state.get("request_id")


def _choose(given: str | None) -> str:
    return given if given is not None and _TAKEN_OVER.fullmatch(given) else new_id("req")
