"""Own the thread that moves pipelines on: takes in what became of steps, checks the next ones, hands them in.

Any number of them may run, in several processes: whatever one does, or is killed before, the next look finds in the
database. It occupies no worker.
"""

import logging
import threading
from collections.abc import Callable

from rlt_core.errors import RltError, UnavailableError
from rlt_core.pipelines import Place, resolved, step_of
from rlt_core.schemas.jobs import AnySpec
from rlt_service.store.pipelines import PipelineStore, Underway

LOGGER = logging.getLogger(__name__)

Check = Callable[[AnySpec, str], None]
"""Makes the checks of a submission with the eyes of the key that a pipeline (by its id) was submitted with.

Raises RltError.
"""


class Conductor:
    """Runs in each control process."""

    def __init__(
        self, pipelines: PipelineStore, *, check: Check, on_begun: Callable[[], None], period_s: float
    ) -> None:
        """Take the store, the checks of a step, whom to tell of a new job, and the seconds between two looks."""
        self._pipelines = pipelines
        self._check = check
        self._on_begun = on_begun
        self._period_s = period_s
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread; its first round comes at once."""
        self._thread = threading.Thread(target=self._run, name="rlt-conductor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; repeatable."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=30.0)
            self._thread = None

    def wake(self) -> None:
        """Ask for a round now; never waits, never raises."""
        self._wake.set()

    def round(self) -> None:
        """Move each pipeline on as far as it goes now; one that cannot be moved holds up no other."""
        for pipeline_id in self._pipelines.live():
            if self._stopping:
                return
            try:
                self._move(pipeline_id)
            except UnavailableError as error:
                LOGGER.warning("%s waits: %s", pipeline_id, error.detail)
            except Exception:  # a pipeline's boundary: what is wrong with one must not stop the others
                LOGGER.exception("%s could not be moved on; the next round tries again", pipeline_id)

    def _move(self, pipeline_id: str) -> None:
        underway = self._pipelines.settle(pipeline_id)
        if underway is None:
            return
        for place in underway.due:
            if not self._begin(underway, place):
                return

    def _begin(self, underway: Underway, place: Place) -> bool:
        """Check a step and hand it in; False where it was refused. Raises UnavailableError where it must wait."""
        round_, step = place
        try:
            spec = resolved(underway.spec, step_of(underway.spec, step), round_=round_, states=underway.states)
            self._check(spec, underway.id)  # outside of any transaction: it may read a whole dataset
        except UnavailableError:
            raise
        except RltError as error:
            LOGGER.warning("%s: %s of round %d was refused: %s", underway.id, step, round_, error.detail)
            self._pipelines.refuse(underway.id, place, error)
            return False
        job = self._pipelines.begin(underway.id, place, spec)
        if job is not None:
            LOGGER.info("%s: %s of round %d is %s", underway.id, step, round_, job.id)
            self._on_begun()
        return True

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                self.round()
            except Exception:  # the thread's boundary: a full disk today must not end the pipelines of tomorrow
                LOGGER.exception("a round of the conductor failed; the next one tries again")
            self._wake.wait(self._period_s)
