"""Own what Prometheus reads at /metrics: what this process has counted.

`process_metrics.py` and `installation_metrics.py` read the rest at each scrape. Labels come from the app's own routes,
statuses and engines, never from what a caller sends: docs/reference/metrics.md lists every metric.
"""

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.registry import Collector
from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rlt_core.schemas.base import Role, now_utc
from rlt_service.engine.protocol import Completion, SequenceScoreRequest, SequenceScoreResult
from rlt_service.event_streams import EVENT_STREAM

UNMATCHED = "unmatched"
"""The route of every path that the app does not have."""
NO_ANSWER = "none"
"""The status of a call that ended before its answer began."""

_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""From a look at a row to a batch of long generations."""
_LAG_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 1800.0)
"""From a busy alias to one that nobody asks."""
_SOURCES = ("cached", "computed")

GeneratingCall = Literal["explain", "solve", "chat"]
"""The calls that sample texts."""


class Metrics:
    """The counters of one app, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "rlt_http_requests", "Calls that ended, by route and status.", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "rlt_http_request_seconds",
            "Time from a call's first byte to its answer's last.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._score_tokens = Counter(
            "rlt_score_tokens",
            "Tokens of scored sequences, by where they came from.",
            ("source",),
            registry=self._registry,
        )
        self._rescored = Counter(
            "rlt_rescored_without_cache",
            "Sequences computed again since a cached prefix reached into what was to be scored.",
            registry=self._registry,
        )
        self._scored = Counter(
            "rlt_scored_explanations", "Explanations that were scored for callers.", registry=self._registry
        )
        self._made = Counter(
            "rlt_completions",
            "Texts that were sampled, by call and by how they ended.",
            ("call", "finish"),
            registry=self._registry,
        )
        self._read_tokens = Counter(
            "rlt_prompt_tokens",
            "Tokens of prompts, once for each text sampled from them, by where they came from.",
            ("call", "source"),
            registry=self._registry,
        )
        self._written_tokens = Counter(
            "rlt_completion_tokens", "Tokens that were sampled, by call.", ("call",), registry=self._registry
        )
        self._promotion_lag = Histogram(
            "rlt_promotion_lag_seconds",
            "From an alias's move to the first answer of this process by the version that it moved to.",
            ("role",),
            buckets=_LAG_SECONDS,
            registry=self._registry,
        )
        self._open_calls = Gauge("rlt_http_requests_open", "Calls that are being answered.", registry=self._registry)
        self._open_streams = Gauge(
            "rlt_event_streams_open",
            "Server-sent event streams with a listener, by route.",
            ("route",),
            registry=self._registry,
        )
        self._moved: dict[Role, datetime] = dict.fromkeys(get_args(Role), now_utc())
        """The newest move that this process has answered by; moves before its start are none of its own."""
        self._show_zeros()

    def _show_zeros(self) -> None:
        """Have series there before the first event: an alert on an increase would miss that one."""
        for call in get_args(GeneratingCall):
            self._written_tokens.labels(call)
            for source in _SOURCES:
                self._read_tokens.labels(call, source)
        for source in _SOURCES:
            self._score_tokens.labels(source)
        for role in get_args(Role):
            self._promotion_lag.labels(role)

    @contextmanager
    def watching(self, collectors: Sequence[Collector]) -> Generator[None]:
        """Add what is read at each scrape, until the block ends."""
        for collector in collectors:
            self._registry.register(collector)
        try:
            yield
        finally:
            for collector in collectors:
                self._registry.unregister(collector)

    def count_call(self, *, route: str, status: str, seconds: float) -> None:
        """Note a call that ended."""
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    @contextmanager
    def open_call(self) -> Generator[None]:
        """Count a call as being answered until the block ends."""
        with self._open_calls.track_inprogress():
            yield

    def open_stream(self, route: str, *, change: int) -> None:
        """Count listeners of event streams that come (1) and go (-1)."""
        self._open_streams.labels(route).inc(change)

    def count_generated(self, call: GeneratingCall, completions: Sequence[Completion], *, prompt_tokens: int) -> None:
        """Note what was sampled for a call; `prompt_tokens` are those of its one prompt."""
        cached = sum(made.cached_tokens for made in completions)
        self._read_tokens.labels(call, "cached").inc(cached)
        self._read_tokens.labels(call, "computed").inc(prompt_tokens * len(completions) - cached)
        self._written_tokens.labels(call).inc(sum(len(made.token_ids) for made in completions))
        for made in completions:
            self._made.labels(call, made.finish_reason).inc()

    def note_served(self, role: Role, *, moved_at: datetime | None) -> None:
        """Note an answer by what an alias points at, which it has done since `moved_at`; null for no alias."""
        if moved_at is not None and moved_at > self._moved[role]:
            self._moved[role] = moved_at
            self._promotion_lag.labels(role).observe(max(0.0, (now_utc() - moved_at).total_seconds()))

    def count_scores(
        self,
        requests: Sequence[SequenceScoreRequest],
        results: Sequence[SequenceScoreResult],
        *,
        explanations: int,
    ) -> None:
        """Note what a call had scored."""
        self._scored.inc(explanations)
        cached = sum(result.cached_tokens for result in results)
        self._score_tokens.labels("cached").inc(cached)
        self._score_tokens.labels("computed").inc(sum(len(request.token_ids) for request in requests) - cached)
        self._rescored.inc(sum(result.rescored for result in results))

    def render(self) -> bytes:
        """Write everything in Prometheus' text format."""
        return generate_latest(self._registry)


class CallMetrics:
    """Counts and times each call of the app, by the template of its route. Plain ASGI, outside of everything else."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call and note how it ended, also where it was cut off."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, streams = NO_ANSWER, False
        began = time.monotonic()

        async def send_noted(message: Message) -> None:
            nonlocal status, streams
            if message["type"] == "http.response.start":
                status = str(message["status"])
                if Headers(raw=message["headers"]).get("content-type", "").startswith(EVENT_STREAM):
                    streams = True
                    self._metrics.open_stream(_template(scope), change=1)
            await send(message)

        try:
            with self._metrics.open_call():
                await self._app(scope, receive, send_noted)
        finally:
            template = _template(scope)
            if streams:
                self._metrics.open_stream(template, change=-1)
            self._metrics.count_call(route=template, status=status, seconds=time.monotonic() - began)


def _template(scope: Scope) -> str:
    route = scope.get("route")
    return route.path if isinstance(route, Route) else UNMATCHED
