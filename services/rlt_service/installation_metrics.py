"""Own what /metrics says of the whole installation, by its database: jobs, queues, bells, datasets. Control tells it.

Workers come and go on hosts that nobody lists, and trainers live for one job; all that they do is in the database. So
every control process tells the same figures, and who adds over replicas takes the largest.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import get_args

from prometheus_client import Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rlt_core.errors import UnavailableError
from rlt_core.schemas.jobs import QUEUE, TERMINAL, JobKind, JobStatus
from rlt_service.bounded_looks import BoundedLook
from rlt_service.store.figures import Figures, StartedJob

PATIENCE_S = 3.0
"""A scrape gives up after ten seconds, and has more to wait for."""
_KINDS: tuple[str, ...] = tuple(kind for part in get_args(JobKind) for kind in get_args(part) or (part,))
_STATES: tuple[str, ...] = get_args(JobStatus)
_CLAIM_SECONDS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 86_400.0)
"""From a worker that listens to a queue of days."""


class InstallationMetrics(Collector):
    """The figures of an installation, read anew for each scrape."""

    def __init__(self, read: Callable[[], Figures], *, queues: Iterable[str], patience_s: float = PATIENCE_S) -> None:
        """Take what reads the figures, and the queues that the settings name."""
        self._look = BoundedLook(read, patience_s=patience_s)
        self._queues = {QUEUE, *queues}
        self._figures: Figures | None = None
        self._took_s = 0.0
        self._known: frozenset[int] | None = None
        self._claims = Histogram(
            "rlt_job_claim_seconds",
            "From when a job could first run to its first claim by a worker, by queue; seen at scrapes.",
            ("queue",),
            buckets=_CLAIM_SECONDS,
            registry=None,
        )
        for queue in self._queues:
            self._claims.labels(queue)

    async def refresh(self) -> None:
        """Read the figures; where that fails or takes too long there are none."""
        began_s = time.monotonic()
        try:
            self._figures = await self._look.ask()
        except (UnavailableError, TimeoutError):
            self._figures = None
        self._took_s = time.monotonic() - began_s
        if self._figures is not None:
            self._note_claims(self._figures.started)

    def collect(self) -> Iterator[Metric]:
        """Give what was read last."""
        figures = self._figures
        yield GaugeMetricFamily(
            "rlt_database_up", "1 where the database gave its figures in time.", value=float(figures is not None)
        )
        yield GaugeMetricFamily(
            "rlt_database_figures_seconds", "Time that reading the figures took.", value=self._took_s
        )
        yield from self._claims.collect()
        if figures is not None:
            yield from _jobs(figures)
            yield from self._queued(figures)
            yield from _stored(figures)

    def _note_claims(self, started: Sequence[StartedJob]) -> None:
        """Count each start once; those before the first look are of no interest any more."""
        if self._known is not None:
            for job in started:
                if job.ordinal not in self._known:
                    self._claims.labels(job.queue).observe(job.waited_s)
        self._known = frozenset(job.ordinal for job in started)

    def _queued(self, figures: Figures) -> Iterator[Metric]:
        depth = GaugeMetricFamily(
            "rlt_queue_jobs", "Jobs whose time has come and which no worker has claimed, by queue.", labels=("queue",)
        )
        oldest = GaugeMetricFamily(
            "rlt_queue_oldest_seconds",
            "Time for which the job that was submitted first has waited, by queue.",
            labels=("queue",),
        )
        for queue in sorted(self._queues | figures.queues.keys()):
            found = figures.queues.get(queue)
            depth.add_metric((queue,), 0 if found is None else found.waiting)
            oldest.add_metric((queue,), 0.0 if found is None else found.oldest_s)
        yield from (depth, oldest)


def _jobs(figures: Figures) -> Iterator[Metric]:
    live = GaugeMetricFamily("rlt_jobs", "Jobs that have not ended, by kind and state.", labels=("kind", "state"))
    ended = CounterMetricFamily("rlt_jobs_ended", "Jobs that have ended, by kind and how.", labels=("kind", "state"))
    retries = CounterMetricFamily("rlt_job_retries", "Attempts beyond each job's first, by kind.", labels=("kind",))
    for kind in _KINDS:
        for state in _STATES:
            (ended if state in TERMINAL else live).add_metric((kind, state), figures.jobs.get((kind, state), 0))
        retries.add_metric((kind,), figures.retries.get(kind, 0))
    yield from (live, ended, retries)


def _stored(figures: Figures) -> Iterator[Metric]:
    yield GaugeMetricFamily("rlt_workers_busy", "Workers that run a job.", value=figures.busy_workers)
    yield GaugeMetricFamily(
        "rlt_outbox_bells", "Bells owed to jobs whose time has come and not rung yet.", value=figures.bells
    )
    yield GaugeMetricFamily("rlt_datasets", "Datasets that are stored.", value=figures.datasets)
    yield GaugeMetricFamily("rlt_dataset_rows", "Rows of all datasets.", value=figures.dataset_rows)
    yield GaugeMetricFamily("rlt_dataset_bytes", "Size of all datasets.", value=figures.dataset_bytes)
