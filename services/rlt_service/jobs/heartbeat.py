"""Own the renewal of a lease: a thread that counts in the database and passes each beat on to the trainer."""

import contextvars
import logging
import threading
import time
from collections.abc import Callable

from rlt_core.errors import NotFoundError, StaleAttemptError, UnavailableError
from rlt_service.store.jobs import JobStore

LOGGER = logging.getLogger(__name__)


class Heartbeat:
    """Beats while the main thread works, so that a long registration or promotion loses no lease."""

    def __init__(
        self,
        jobs: JobStore,
        *,
        job_id: str,
        attempt: int,
        period_s: float,
        on_beat: Callable[[], None],
        run_before_s: float = 0.0,
    ) -> None:
        """Take the claim, seconds between beats, what hears each beat that the database has taken.

        `run_before_s` is how long earlier attempts ran.
        """
        self._jobs = jobs
        self._job_id = job_id
        self._attempt = attempt
        self._period_s = period_s
        self._on_beat = on_beat
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=contextvars.copy_context().run, args=(self._run,), name="rlt-heartbeat", daemon=True
        )
        self._began_s = time.monotonic() - run_before_s
        self.cancel_requested = False
        self.pause_requested = False
        self.lost = False
        """Whether the job belongs to somebody else by now: every write would be refused."""

    @property
    def runtime_s(self) -> float:
        """How long all attempts have run, this one included."""
        return time.monotonic() - self._began_s

    def start(self) -> None:
        """Beat once, then go on in the thread."""
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """End the thread; repeatable."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=30.0)

    def _run(self) -> None:
        while not self.lost and not self._stop.wait(self._period_s):
            self._beat()

    def _beat(self) -> None:
        try:
            lease = self._jobs.beat(self._job_id, self._attempt, runtime_s=self.runtime_s)
        except (StaleAttemptError, NotFoundError) as error:
            # Also heard by a last beat that comes just after the end was stored.
            LOGGER.info("%s", error)
            self.lost = True
        except UnavailableError as error:
            # The trainer hears no beat either; if this lasts, it ends before another worker may begin.
            LOGGER.warning("heartbeat of %s was not stored: %s", self._job_id, error)
        except Exception:  # the thread's boundary: one odd answer of a database must not end the beating for good
            LOGGER.exception("heartbeat of %s broke", self._job_id)
        else:
            self.cancel_requested, self.pause_requested = lease.cancel_requested, lease.pause_requested
            self._on_beat()
