"""Own each request's place in a trace: taken from its traceparent or begun here, recorded where traces are. Plain ASGI.

OpenTelemetry's own instrumentation of ASGI is not used: it records addresses with their queries, and a span for every
piece of a stream.
"""

from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rlt_core import trace_context
from rlt_core.log_records import bound
from rlt_core.spans import Span, span

UNTRACED = frozenset({"/healthz", "/readyz", "/metrics"})
"""Asked every few seconds, by machines."""


class RequestTraces:
    """Puts each call into a trace."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call within its trace; all records of logs carry the trace's number."""
        if scope["type"] != "http" or scope["path"] in UNTRACED:
            await self._app(scope, receive, send)
            return
        above = trace_context.parse(Headers(scope=scope).get(trace_context.HEADER))
        method: str = scope["method"]
        with (
            span(method, kind="server", above=above, begin=True, http__request__method=method) as told,
            bound(**trace_context.fields()),
        ):
            await self._serve(scope, receive, send, told)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, told: Span) -> None:
        async def send_seen(message: Message) -> None:
            if message["type"] == "http.response.start":
                status: int = message["status"]
                told.set(http__response__status_code=status)
                if status >= 500:
                    told.fail(str(status))
            await send(message)

        try:
            await self._app(scope, receive, send_seen)
        finally:
            route = scope.get("route")
            if isinstance(route, Route):
                told.name(f"{scope['method']} {route.path}")
                told.set(http__route=route.path)
            told.set(rlt__request_id=str(scope.get("state", {}).get("request_id", "")))
