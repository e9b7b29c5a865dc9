"""Own the thread that mends: bells not rung, rows nobody came for, lost leases, a dead broker, left folders, strays."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from rlt_core.errors import StaleAttemptError, UnavailableError
from rlt_core.schemas.jobs import QUEUE, JobError
from rlt_service.jobs.bell import Bell, ring_again, ring_owed
from rlt_service.jobs.broker import EmbeddedValkey
from rlt_service.jobs.last_words import log_tail
from rlt_service.jobs.lease import LeaseWatcher
from rlt_service.jobs.strays import Strays
from rlt_service.jobs.verdict import LEASE_LOST
from rlt_service.settings import Settings
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.jobs import JobStore, RunningJob
from rlt_service.store.outbox import Outbox
from rlt_service.store.retention import Retention

LOGGER = logging.getLogger(__name__)

SWEEP_S = 300.0
"""Between two looks for folders that nobody needs any more."""


class Reconciler:
    """Runs in each control and worker process; any number of them may run."""

    def __init__(
        self,
        settings: Settings,
        *,
        jobs: JobStore,
        outbox: Outbox,
        bell: Bell,
        artifacts: ArtifactStore,
        retention: Retention,
        broker: EmbeddedValkey | None = None,
        strays: Strays | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the stores and the bell.

        `broker` is kept alive where this process owns the embedded one; `strays` are ended where trainers run.
        """
        self._jobs = jobs
        self._outbox = outbox
        self._bell = bell
        self._artifacts = artifacts
        self._retention = retention
        self._broker = broker
        self._strays = strays
        self._clock = clock
        self._swept_s: float | None = None
        self._lease_s = settings.lease_s
        self._looked_s: float | None = None
        """When strays were looked for, once a lease: it takes a look at every process of the machine."""
        self._period_s = min(settings.reconcile_s, settings.lease_s / 3)
        self._watcher = LeaseWatcher(lease_s=settings.lease_s)
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.broker_detail = ""
        """Why the broker could not be reached in the last round; empty when it could."""
        self.rounds = 0
        """Carried out, broken ones too."""
        self.broken_rounds = 0
        self.last_round_at: float | None = None
        """When a round last went through, as seconds of the wall clock; null before the first."""
        self.lost_leases = 0
        """Jobs that this process has given back since nobody beat for them."""

    @property
    def oldest_beat_s(self) -> float:
        """For how long the running job that is silent longest has not beaten, seconds; 0 where none runs."""
        return self._watcher.oldest_s(now_s=self._clock())

    def start(self) -> None:
        """Start the thread; its first round comes at once."""
        self._thread = threading.Thread(target=self._run, name="rlt-reconciler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; repeatable."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=30.0)
            self._thread = None

    def wake(self) -> None:
        """Ask for a round now (a job was submitted); never waits, never raises."""
        self._wake.set()

    def round(self) -> None:
        """Mend once. Leases first: they need no broker."""
        now_s = self._clock()  # before the rows: if this thread stands still between, no job looks older than it is
        for job in self._watcher.expired(self._running(), now_s=now_s):
            self._give_back(job)
        try:
            if self._broker is not None:
                self._broker.start()
            ring_owed(self._outbox, self._bell)
            ring_again(self._outbox, self._bell)
            self._bell.sounding(QUEUE)  # a broker that is away is noticed also while nothing waits
            self.broker_detail = ""
        except UnavailableError as error:
            self.broker_detail = error.detail
            LOGGER.warning("%s", error.detail)
        if self._strays is not None and (self._looked_s is None or now_s - self._looked_s >= self._lease_s):
            self._strays.end()
            self._looked_s = now_s
        if self._swept_s is None or now_s - self._swept_s >= SWEEP_S:
            self._retention.sweep()
            self._swept_s = now_s

    def _running(self) -> Sequence[RunningJob]:
        """Read what runs; where that fails, no supervisor is to blame for the time until it is read again."""
        try:
            return self._jobs.running()
        except UnavailableError:
            self._watcher.forget()
            raise

    def _give_back(self, lost: RunningJob) -> None:
        # Nobody else can tell: whoever ran the trainer is gone, and the log outlives both.
        tail = log_tail(self._artifacts.log_path(lost.id, lost.attempt))
        error = JobError(code="worker_lost", message=LEASE_LOST, retryable=True, log_tail=tail)
        try:
            job = self._jobs.requeue(lost.id, lost.attempt, LEASE_LOST, beat=lost.beat, error=error)
        except StaleAttemptError:
            return  # another watcher, or the supervisor itself, was first, or it beats again
        self.lost_leases += 1
        LOGGER.warning("lease of %s attempt %d ran out: now %s", lost.id, lost.attempt, job.status)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            self.rounds += 1
            try:
                self.round()
                self.last_round_at = time.time()
            except Exception:  # the thread's boundary: a full disk today must not end the mending of tomorrow
                self.broken_rounds += 1
                LOGGER.exception("a round of the reconciler failed; the next one tries again")
            self._wake.wait(self._period_s)
