"""Own what can be read of a job's course: its series of metrics, its checkpoints, the end of its log."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlt_core.schemas.base import Page
from rlt_core.schemas.jobs import Checkpoint, JobEvent, JobMetrics
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.faults import storage_faults
from rlt_service.store.jobs import JobStore

PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """Reads events and files that the supervisor wrote."""

    jobs: JobStore
    artifacts: ArtifactStore

    def metrics(self, job_id: str, *, after_step: int, max_points: int) -> JobMetrics:
        """Give the series of all steps after `after_step`, thinned evenly; the last step is always among them.

        A step that was done again after a crash has the values of the last attempt.
        """

        def choose(steps: Sequence[int]) -> Sequence[int]:
            return _thin([step for step in steps if step > after_step], max_points=max_points)

        by_step = self.jobs.series(job_id, choose=choose)
        steps = list(by_step)
        names = sorted({name for metrics in by_step.values() for name in metrics})
        return JobMetrics(
            job=job_id, steps=steps, series={name: [by_step[step].get(name) for step in steps] for name in names}
        )

    def checkpoints(self, job_id: str) -> Page[Checkpoint]:
        """Give the checkpoints of all attempts that still lie there, newest first."""
        found = [
            Checkpoint(
                id=f"{job_id}.{event.attempt}.{event.data['step']}",
                job=job_id,
                attempt=event.attempt,
                step=event.data["step"],
                created_at=event.created_at,
                manifest_sha256=event.data.get("manifest_sha256"),
            )
            for event in self._events(job_id, type_="checkpoint")
            if (
                self.artifacts.attempt_dir(job_id, event.attempt) / "checkpoints" / f"step-{event.data['step']}"
            ).is_dir()
        ]
        return Page[Checkpoint](data=found[::-1])

    def log_tail(self, job_id: str, *, max_bytes: int) -> str:
        """Give the end of the last attempt's log, cut to whole lines; empty before a first attempt."""
        job = self.jobs.get(job_id)
        path = self.artifacts.log_path(job_id, job.attempt)
        with storage_faults(f"read the log of {job_id}"):
            return _tail(path, max_bytes=max_bytes)

    def _events(self, job_id: str, *, type_: str) -> Iterator[JobEvent]:
        after_seq = 0
        while events := self.jobs.events(job_id, after_seq=after_seq, limit=PAGE, types=(type_,)):
            yield from events
            after_seq = events[-1].seq


def _thin(steps: list[int], *, max_points: int) -> list[int]:
    if len(steps) <= max_points:
        return steps
    stride = -(-len(steps) // max_points)
    return steps[::-1][::stride][::-1]


def _tail(path: Path, *, max_bytes: int) -> str:
    if path.is_symlink() or not path.is_file():
        return ""
    with path.open("rb") as log:
        size = log.seek(0, 2)
        log.seek(max(0, size - max_bytes))
        tail = log.read(max_bytes)
    if size > max_bytes:
        tail = tail.partition(b"\n")[2]
    return tail.decode("utf-8", errors="replace")
