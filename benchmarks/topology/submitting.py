"""Own the jobs that run through a site while it is harmed, and what the database must say of them in the end."""

import threading
from dataclasses import dataclass, field
from types import TracebackType

from benchmarks.reliability.ledger import book_of
from benchmarks.reliability.plant import Plant, wait_for
from benchmarks.topology.callers import RETRIES, TIMEOUT_S
from benchmarks.topology.site import Site
from rlt_client import APIError, Client
from rlt_core.schemas.jobs import Job, RlSpec, WarmupSpec

STEPS = 6
WORK = f"steps={STEPS} step_s=0.05 save_s=0.02"
"""What a stub does: a few steps, each with a call of `/explain` and of `/score`, and a checkpoint."""
SAVE_EVERY = 1
WAITING = 2
"""Jobs that wait for a worker at any time."""
LOOK_S = 0.1
END_S = 240.0


@dataclass(slots=True)
class Submitter:
    """Keeps a few jobs waiting or running, every other one with an alias of its own to move, until the block ends."""

    site: Site
    jobs: list[str] = field(default_factory=list[str])
    """Acknowledged."""
    refused: list[str] = field(default_factory=list[str])
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> "Submitter":
        """Begin."""
        self._thread = threading.Thread(target=self._submit)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Hand in no more."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def faults(self) -> list[str]:
        """Wait for the end of every job; say what was refused, what failed, and what the database has wrong."""
        plant = self.site.plant
        wait_for(lambda: all(map(plant.has_ended, self.jobs)), what="every job has ended", timeout_s=END_S)
        found = [f"a submission: {refused}" for refused in self.refused]
        for job in self.jobs:
            book = book_of(plant, job)
            wrong = book.faults(save_every=SAVE_EVERY)
            if book.job.status != "succeeded":
                wrong.append(f"it {book.job.status}: {book.job.error}")
            found += [f"{job}: {one}" for one in wrong]
        return found

    def _submit(self) -> None:
        with Client(self.site.address, timeout=TIMEOUT_S, max_retries=RETRIES) as client:
            while not self._ended.is_set():
                try:
                    waiting = client.jobs.list(status="queued", limit=WAITING).data
                    if len(waiting) < WAITING:
                        self.jobs.append(client.train(spec_of(self.site.plant, len(self.jobs))).id)
                except APIError as error:
                    self.refused.append(f"{type(error).__name__}: {error}"[:300])
                self._ended.wait(LOOK_S)


def spec_of(plant: Plant, number: int) -> WarmupSpec | RlSpec:
    """Make a small job, every other time one whose result gets an alias that no other job moves."""
    return plant.promoted(WORK, number=number) if number % 2 else plant.warmup(WORK)


def promoting(plant: Plant) -> RlSpec:
    """Make a small job whose result is served from then on."""
    spec = {"kind": "rl", "dataset": plant.dataset, "target_name": "served", "name": WORK}
    return RlSpec.model_validate(spec | {"promote": {"alias": "default", "when": "always"}})


def run_to_its_end(client: Client, spec: RlSpec) -> Job:
    """Submit a job and wait for it; raises RuntimeError where it does not succeed."""
    job = client.jobs.wait(client.train(spec).id, poll_s=LOOK_S, timeout_s=END_S)
    if job.status != "succeeded":
        raise RuntimeError(f"{job.id} {job.status}: {job.error}")
    return job
