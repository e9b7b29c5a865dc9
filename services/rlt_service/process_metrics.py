"""Own what /metrics says of this process at each scrape: what is in hand, its engines, its reconciler, its disk."""

import asyncio
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from rlt_core.errors import EngineUnavailableError
from rlt_service.bounded_looks import BoundedLook
from rlt_service.engine.protocol import EngineHealth, QueueState
from rlt_service.engine_host import EngineHost
from rlt_service.in_hand import InHand
from rlt_service.jobs.reconciler import Reconciler

PATIENCE_S = 1.5
"""For an engine or a disk that hangs."""


class ProcessMetrics(Collector):
    """What this process has in hand, and how what it rests on is."""

    def __init__(
        self,
        *,
        in_hand: InHand,
        hosts: Callable[[], Mapping[str, EngineHost]],
        reconciler: Reconciler | None,
        folders: Mapping[str, Path],
    ) -> None:
        """Take the owners of the facts.

        `hosts` gives the engines' by the base or version that each holds; `folders` are those whose disks are watched.
        """
        self._in_hand = in_hand
        self._hosts = hosts
        self._reconciler = reconciler
        self._disks = {name: BoundedLook(partial(_room, path), patience_s=PATIENCE_S) for name, path in folders.items()}
        self._health: dict[str, EngineHealth] = {}
        self._room: dict[str, tuple[int, int]] = {}

    async def refresh(self) -> None:
        """Ask engines and disks, all at the same time; what does not answer is left out."""
        await asyncio.gather(
            *(self._ask_engine(name, host) for name, host in self._hosts().items()),
            *(self._ask_disk(name, look) for name, look in self._disks.items()),
        )

    def collect(self) -> Iterator[Metric]:
        """Give what was found."""
        held = self._in_hand
        yield GaugeMetricFamily("rlt_requests_in_hand", "Generations and scores in hand.", value=held.requests)
        yield GaugeMetricFamily(
            "rlt_tokens_in_hand", "Tokens of the generations and scores in hand.", value=held.tokens
        )
        yield GaugeMetricFamily(
            "rlt_admission_fullness_ratio",
            "Share of the room for work in hand that is taken; at 1 calls are refused.",
            value=held.fullness,
        )
        yield from self._disk_facts()
        if self._reconciler is not None:
            yield from _reconciler_facts(self._reconciler)
        if hosts := self._hosts():
            yield from _engine_facts(hosts)
            yield from _health_facts({name: self._health[name] for name in hosts if name in self._health})

    async def _ask_engine(self, name: str, host: EngineHost) -> None:
        self._health.pop(name, None)
        try:
            async with asyncio.timeout(PATIENCE_S):
                self._health[name] = await host.ready().health()
        except (EngineUnavailableError, TimeoutError):
            return

    async def _ask_disk(self, name: str, look: BoundedLook[tuple[int, int]]) -> None:
        self._room.pop(name, None)
        try:
            self._room[name] = await look.ask()
        except (OSError, TimeoutError):
            return

    def _disk_facts(self) -> Iterator[Metric]:
        free = GaugeMetricFamily("rlt_disk_free_bytes", "Room left on the disk of a folder.", labels=("folder",))
        size = GaugeMetricFamily("rlt_disk_size_bytes", "Size of the disk of a folder.", labels=("folder",))
        for name, (left, total) in self._room.items():
            free.add_metric((name,), left)
            size.add_metric((name,), total)
        yield from (free, size)


def _room(folder: Path) -> tuple[int, int]:
    """Give what is free of the disk of a folder and how large it is, bytes; raises OSError."""
    usage = shutil.disk_usage(folder)
    return usage.free, usage.total


def _reconciler_facts(reconciler: Reconciler) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "rlt_broker_up",
        "1 where the broker could be reached in the reconciler's last round.",
        value=float(not reconciler.broker_detail),
    )
    yield CounterMetricFamily("rlt_reconciler_rounds", "Rounds of the reconciler.", value=reconciler.rounds)
    yield CounterMetricFamily(
        "rlt_reconciler_failures", "Rounds of the reconciler that broke.", value=reconciler.broken_rounds
    )
    yield GaugeMetricFamily(
        "rlt_reconciler_last_success_timestamp_seconds",
        "When a round of the reconciler last went through; 0 before the first.",
        value=reconciler.last_round_at or 0.0,
    )
    yield CounterMetricFamily(
        "rlt_leases_lost",
        "Jobs that this process took from workers that had fallen silent.",
        value=reconciler.lost_leases,
    )
    yield GaugeMetricFamily(
        "rlt_job_heartbeat_age_seconds",
        "Time for which the running job that is silent longest has not beaten, as this process saw it.",
        value=reconciler.oldest_beat_s,
    )


def _engine_facts(hosts: Mapping[str, EngineHost]) -> Iterator[Metric]:
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
    yield from (up, restarts, scoring)


def _health_facts(found: Mapping[str, EngineHealth]) -> Iterator[Metric]:
    adapters = GaugeMetricFamily("rlt_adapters_loaded", "Adapters in the engine's memory.", labels=("base",))
    cache = GaugeMetricFamily(
        "rlt_engine_cache_use_ratio", "Share of the room for keys and values that is taken.", labels=("base",)
    )
    by_queue = ("base", "queue")
    running = GaugeMetricFamily("rlt_engine_running", "Sequences that the engine computes.", labels=by_queue)
    waiting = GaugeMetricFamily("rlt_engine_waiting", "Sequences that wait for their turn.", labels=by_queue)
    waits = HistogramMetricFamily(
        "rlt_engine_wait_seconds", "Time that a sequence waited for its turn before the engine.", labels=by_queue
    )
    for base, health in found.items():
        adapters.add_metric((base,), len(health.loaded_versions))
        if health.cache_use is not None:
            cache.add_metric((base,), health.cache_use)
        for queue in health.queues:
            running.add_metric((base, queue.name), queue.running)
            waiting.add_metric((base, queue.name), queue.waiting)
            _add_waits(waits, base, queue)
    yield from (adapters, cache, running, waiting, waits)


def _add_waits(waits: HistogramMetricFamily, base: str, queue: QueueState) -> None:
    waits.add_metric((base, queue.name), list(queue.waited.items()), sum_value=queue.waited_s)
