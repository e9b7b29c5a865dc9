"""Own who a call comes from: keys looked up by id and remembered for seconds, the call's end counted. Plain ASGI."""

import asyncio
import math
from collections.abc import Callable
from time import monotonic
from typing import Any, cast

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from rlt_core.errors import UnauthenticatedError
from rlt_service.access.limits import KeyLimits
from rlt_service.access.secrets import read_secret
from rlt_service.spending import SPENDING
from rlt_service.store.keys import Key, KeyStore
from rlt_service.store.ownership import VIEWER

REMEMBERED_S = 2.0
"""How long a look-up holds: so long a revoked key may go on, and a server without keys stay open after the first."""
MAX_REMEMBERED = 4096
_NEEDED = "this server needs a key: send Authorization: Bearer rlt_… (the SDK and the command line read RLT_API_KEY)"


class Authenticator:
    """Finds the key of a call."""

    def __init__(self, keys: KeyStore, *, clock: Callable[[], float] = monotonic) -> None:
        self.limits = KeyLimits(clock=clock)
        self._keys = keys
        self._clock = clock
        self._known: dict[str, tuple[Key, float]] = {}
        self._needed = False
        self._looked_at = -math.inf

    async def key_of(self, headers: Headers) -> Key | None:
        """Return the call's key; None on a server without keys. Raises UnauthenticatedError."""
        if not await self._are_needed():
            return None
        given = headers.getlist("authorization")
        if not given:
            raise UnauthenticatedError(_NEEDED)
        secret = read_secret(given[0]) if len(given) == 1 else None
        key = None if secret is None else await self._find(secret.key_id)
        if secret is None or key is None or not secret.is_of(key.sha256):
            raise UnauthenticatedError(
                "the key in Authorization is not known here, or was revoked: ask the server's operator for another"
            )
        return key

    def forget(self) -> None:
        """Look everything up anew, at the next call."""
        self._known.clear()
        self._looked_at = -math.inf

    async def _are_needed(self) -> bool:
        now = self._clock()
        if not self._needed and now - self._looked_at >= REMEMBERED_S:
            self._needed = await asyncio.to_thread(self._keys.exist)
            self._looked_at = now
        return self._needed

    async def _find(self, key_id: str) -> Key | None:
        now = self._clock()
        known = self._known.get(key_id)
        if known is not None and now - known[1] < REMEMBERED_S:
            return known[0]
        self._known.pop(key_id, None)
        key = await asyncio.to_thread(self._keys.find, key_id)
        if key is not None:
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[key_id] = (key, now)
        return key


class Visit:
    """One call: its key is found when the first asks, and it counts against the key's limits once."""

    def __init__(self, headers: Headers) -> None:
        self._headers = headers
        self._authenticator: Authenticator | None = None
        self.key: Key | None = None
        self.is_metered = False
        """Whether it has been counted against its project's day."""

    async def begin(self, authenticator: Authenticator) -> Key | None:
        """Find the key and let the store know who looks; repeatable. Raises UnauthenticatedError, RateLimitedError."""
        if self._authenticator is None:
            key = await authenticator.key_of(self._headers)
            if key is not None:
                authenticator.limits.enter(key)
                VIEWER.set(key.viewer)
            self.key, self._authenticator = key, authenticator
        return self.key

    def end(self) -> None:
        """Count that the call has ended."""
        if self.key is not None and self._authenticator is not None:
            self._authenticator.limits.leave(self.key)


class Visits:
    """Gives each call its visit, and ends it; who needs a key says so by `Needs`."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = Visit(Headers(scope=scope))
        scope.setdefault("state", {})["visit"] = visit
        token, spending = VIEWER.set(None), SPENDING.set(None)
        try:
            await self._app(scope, receive, send)
        finally:
            VIEWER.reset(token)
            SPENDING.reset(spending)
            visit.end()


async def begin_visit(connection: HTTPConnection) -> Key | None:
    """Find the key of a call; raises UnauthenticatedError, RateLimitedError."""
    state: Any = connection.app.state
    visit = cast(Visit, connection.state.visit)
    return await visit.begin(cast(Authenticator, state.services.authenticator))
