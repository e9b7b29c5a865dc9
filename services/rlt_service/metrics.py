"""Own what Prometheus reads at /metrics: counts of calls and scores, and the state of the engine at each reading.

Labels come from the app's own routes, statuses and engines, never from what a caller sends.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rlt_core.errors import EngineUnavailableError
from rlt_service.engine.protocol import SequenceScoreRequest, SequenceScoreResult
from rlt_service.engine_host import EngineHost
from rlt_service.in_hand import InHand

UNMATCHED = "unmatched"
"""The route of every path that the app does not have."""
NO_ANSWER = "none"
"""The status of a call that ended before its answer began."""

_SECONDS = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
"""From a look at a row to a batch of long generations."""


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

    def watch(self, live: Collector) -> None:
        """Add what is read at each scrape."""
        self._registry.register(live)

    def forget(self, live: Collector) -> None:
        """Leave out what is no longer there to be read."""
        self._registry.unregister(live)

    def count_call(self, *, route: str, status: str, seconds: float) -> None:
        """Note a call that ended."""
        self._requests.labels(route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def count_scores(self, requests: Sequence[SequenceScoreRequest], results: Sequence[SequenceScoreResult]) -> None:
        """Note what a call had scored."""
        cached = sum(result.cached_tokens for result in results)
        self._score_tokens.labels("cached").inc(cached)
        self._score_tokens.labels("computed").inc(sum(len(request.token_ids) for request in requests) - cached)
        self._rescored.inc(sum(result.rescored for result in results))

    def render(self) -> bytes:
        """Write everything in Prometheus' text format."""
        return generate_latest(self._registry)


class LiveState(Collector):
    """What is in hand and how the engine is, read when it is asked for."""

    def __init__(
        self, *, in_hand: InHand, hosts: Callable[[], Mapping[str, EngineHost]], folder: Path | None = None
    ) -> None:
        """Take the owners of the facts; `hosts` gives the engines' by what each holds, `folder` lies on the disk."""
        self._in_hand = in_hand
        self._hosts = hosts
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        """Read the facts."""
        yield GaugeMetricFamily("rlt_requests_in_hand", "Generations and scores in hand.", value=self._in_hand.requests)
        if self._folder is not None:
            yield from _disk_facts(self._folder)
        if hosts := self._hosts():
            yield from _engine_facts(hosts)


def _disk_facts(folder: Path) -> Iterable[Metric]:
    try:
        disk = shutil.disk_usage(folder)
    except OSError:  # readiness says what is wrong with it
        return
    yield GaugeMetricFamily("rlt_disk_bytes", "Size of the disk that holds the artifacts.", value=disk.total)
    yield GaugeMetricFamily("rlt_disk_free_bytes", "What is free of it.", value=disk.free)


def _engine_facts(hosts: Mapping[str, EngineHost]) -> Iterable[Metric]:
    up = GaugeMetricFamily("rlt_engine_up", "1 while the engine takes requests.", labels=("base",))
    restarts = CounterMetricFamily(
        "rlt_engine_restarts", "Times that the engine died and was started again.", labels=("base",)
    )
    scoring = GaugeMetricFamily(
        "rlt_scoring_worker_ok",
        "1 where the scoring worker proved itself at start; 0: only temperature 1 can be scored.",
        labels=("base", "engine"),
    )
    for base, host in hosts.items():
        restarts.add_metric((base,), host.restarts)
        try:
            info = host.ready().info
            scoring.add_metric((base, info.name), 0.0 if info.scoring == "plain" else 1.0)
            up.add_metric((base,), 1.0)
        except EngineUnavailableError:
            up.add_metric((base,), 0.0)
    return up, restarts, scoring


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
        status = NO_ANSWER
        began = time.monotonic()

        async def send_noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        finally:
            route = scope.get("route")
            template = route.path if isinstance(route, Route) else UNMATCHED
            self._metrics.count_call(route=template, status=status, seconds=time.monotonic() - began)
