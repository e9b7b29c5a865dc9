"""Own which calls the audit log tells of: those with a key that change something, or were to. Plain ASGI.

An entry is stored before the answer leaves, so that whoever has an answer has left one. Not told of are calls that only
read, explain, score, solve or chat, answers that are given again, and what trainers do, for which their job stands.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, cast

from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rlt_core.errors import RltError
from rlt_service.access.authentication import Visit
from rlt_service.access.scopes import checks_among
from rlt_service.request_ids import request_id_in
from rlt_service.store.audit import AuditStore

LOGGER = logging.getLogger(__name__)
READING = frozenset({"GET", "HEAD", "OPTIONS"})
ASKING = frozenset({"explain", "score"})
"""Scopes of calls that change nothing."""


class AuditedCalls:
    """Stands within what gives each call its visit, and around the routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] != "http" or scope["method"] in READING:
            await self._app(scope, receive, send)
            return

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                await _note(scope, message)
            await send(message)

        await self._app(scope, receive, noted)


async def _note(scope: Scope, started: Message) -> None:
    key = cast(Visit, scope["state"]["visit"]).key
    route, headers = scope.get("route"), Headers(raw=started.get("headers", []))
    if key is None or key.of_trainer or not isinstance(route, APIRoute) or "idempotency-replayed" in headers:
        return
    if ASKING & {check.scope for check in checks_among(route.dependencies)}:
        return
    audit = cast(AuditStore, scope["app"].state.services.audit)
    try:
        await asyncio.to_thread(
            audit.note,
            f"{scope['method']} {route.path_format}",
            key=key.id,
            project=key.project_id,
            subject=_subject(scope.get("path_params", {}), headers),
            status=started["status"],
            request_id=request_id_in(scope),
        )
    except RltError as error:  # what was done is done: who asked must hear of it
        LOGGER.error(
            "the audit log lacks %s %s of the key %s, answered %s: %s",
            scope["method"],
            route.path_format,
            key.id,
            started["status"],
            error.detail,
        )


def _subject(parameters: Mapping[str, Any], headers: Headers) -> str | None:
    """Name what was changed by the path, or what was made by where it lies."""
    named = "/".join(str(value) for value in parameters.values())
    made = headers.get("location", "").removeprefix("/v1/").partition("/")[2]
    return made or named or None
