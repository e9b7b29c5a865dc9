"""Own the bound of open connections: above it a call is refused at once, and its connection closed. Plain ASGI.

uvicorn has such a bound too, and answers in plain text.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from rlt_core.errors import UnavailableError
from rlt_service.problems import answer_of

RETRY_AFTER_S = 1.0


class BoundedConnections:
    """Refuses calls while a server has more connections than it takes; what counts them is the app's state."""

    def __init__(self, app: ASGIApp, *, most: int) -> None:
        self._app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        count = getattr(scope["app"].state, "open_connections", None)  # none where the app runs without its server
        if scope["type"] != "http" or count is None or count() <= self._most:
            await self._app(scope, receive, send)
            return
        error = UnavailableError(
            f"the server has more than {self._most} connections open (RLT_MAX_CONNECTIONS): close what is idle, and "
            "come back",
            retry_after_s=RETRY_AFTER_S,
        )
        answer = answer_of(error, request_id=scope["state"]["request_id"])
        answer.headers["Connection"] = "close"
        await answer(scope, receive, send)
