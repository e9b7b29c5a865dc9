"""Own the books: what a job's history must look like after any faults, whatever they were. Reads the database only."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select

from benchmarks.reliability.plant import Plant
from rlt_core.schemas.jobs import TERMINAL, Job, JobEvent, RlSpec
from rlt_service.store.tables import AliasChangeRow, EvaluationTable, VersionRow

PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """A job with all its events, and the number of each of its effects."""

    job: Job
    events: Sequence[JobEvent]
    versions: int
    """That it registered."""
    moves: int = 0
    """Of aliases, that it asked for."""
    evaluations: int = 0

    def faults(self, *, save_every: int) -> list[str]:
        """Say everything that is not as it must be; `save_every` bounds the steps that a kill may cost."""
        return [*self._order_faults(), *self._end_faults(), *self._effect_faults(), *self._work_faults(save_every)]

    def starts(self) -> list[JobEvent]:
        """Give the beginnings of its attempts."""
        return [event for event in self.events if event.type == "started"]

    def reasons(self) -> list[str]:
        """Give why it was put back into the queue, each time."""
        return [str(event.data.get("reason", "")) for event in self.events if event.type == "requeued"]

    def waits(self) -> int:
        """Count the times that a trainer said that it waits for a service."""
        return sum("trying again in" in str(event.data.get("message", "")) for event in self.events)

    def lost_steps(self) -> list[int]:
        """Say for each attempt but the first how many steps, known to the database, were taken again."""
        lost: list[int] = []
        furthest = 0
        for attempt in range(1, self.job.attempt + 1):
            steps = self._steps(attempt)
            if steps and attempt > 1:
                lost.append(max(0, furthest + 1 - steps[0]))
            furthest = max([furthest, *steps])
        return lost

    def _steps(self, attempt: int) -> list[int]:
        return [event.data["step"] for event in self.events if (event.type, event.attempt) == ("progress", attempt)]

    def _order_faults(self) -> list[str]:
        found: list[str] = []
        if [event.seq for event in self.events] != list(range(1, len(self.events) + 1)):
            found.append("its events are not numbered 1, 2, 3 …")
        attempts = [event.attempt for event in self.events]
        if attempts != sorted(attempts):
            found.append("an event of a former attempt stands behind one of a later")
        if [event.attempt for event in self.starts()] != list(range(1, self.job.attempt + 1)):
            found.append("its attempts did not start once each, in order")
        return found

    def _end_faults(self) -> list[str]:
        ends = [event.type for event in self.events if event.type in TERMINAL]
        if self.job.status not in TERMINAL:
            return [f"it has not ended: {self.job.status}"]
        found: list[str] = []
        if ends != [self.job.status] or self.events[-1].type != self.job.status:
            found.append(f"its ends are {ends}, its status is {self.job.status}")
        return found

    def _effect_faults(self) -> list[str]:
        """Hold each effect against the end: done once if it succeeded, and never twice.

        A job that was cancelled after it had registered its version, while it waited for its promotion or for a worker
        in the place of a dead one, names that version as its result.
        """
        if self.job.status not in TERMINAL:
            return []
        promotes = isinstance(self.job.spec, RlSpec) and self.job.spec.promote.when == "always"
        done = int(self.job.status == "succeeded")
        result = self.job.result
        named = int(result is not None and (result.teacher or result.student) is not None)
        found: list[str] = []
        if not done <= self.versions == named:
            found.append(f"{self.job.status} with {self.versions} registered versions")
        if not done * promotes <= self.moves <= promotes * min(1, self.versions):
            found.append(f"{self.job.status} with {self.moves} moves of an alias")
        if self.evaluations > self.versions:
            found.append(f"{self.job.status} with {self.evaluations} evaluations and {self.versions} versions")
        return found

    def _work_faults(self, save_every: int) -> list[str]:
        found: list[str] = []
        for attempt in range(1, self.job.attempt + 1):
            steps = self._steps(attempt)
            if steps and steps != list(range(steps[0], steps[0] + len(steps))):
                found.append(f"steps of attempt {attempt} are {steps}")
        if any(lost > save_every for lost in self.lost_steps()):
            found.append(f"steps taken again: {self.lost_steps()}, more than {save_every}")
        return found


def book_of(plant: Plant, job_id: str) -> Book:
    """Read a job's book."""
    events: list[JobEvent] = []
    while page := plant.jobs.events(job_id, after_seq=events[-1].seq if events else 0, limit=PAGE):
        events += page
    effects = (VersionRow.job_id, AliasChangeRow.by, EvaluationTable.job_id)
    with plant.database.reading() as session:
        versions, moves, evaluations = (
            session.scalar(select(func.count()).where(column == job_id)) or 0 for column in effects
        )
    return Book(job=plant.jobs.get(job_id), events=events, versions=versions, moves=moves, evaluations=evaluations)
