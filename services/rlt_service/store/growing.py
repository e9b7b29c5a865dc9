"""Own datasets that a collect has not finished: found by the job's number, read from its shards, never changed here."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from rlt_core.collected import FOLDER, INDEX, IndexLine, job_of, read_index, read_lines
from rlt_core.schemas.datasets import Dataset
from rlt_core.schemas.jobs import TERMINAL
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.faults import storage_faults
from rlt_service.store.ownership import visible
from rlt_service.store.tables import JobRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Growing:
    """A dataset as far as it is: what a reader has seen stays where it was."""

    id: str
    name: str | None
    created_at: datetime
    job: str
    status: str
    folder: Path | None
    """Of the newest attempt that has taken up what lay there; None before the first has."""
    index: list[IndexLine]

    @property
    def dataset(self) -> Dataset:
        """Show it; the hash of what still grows is empty, and so are its columns."""
        return Dataset(
            id=self.id,
            name=self.name,
            created_at=self.created_at,
            rows=sum(line.rows for line in self.index),
            size_bytes=sum(line.size for line in self.index),
            sha256="",
            columns=[],
            complete=False,
            job=self.job,
        )

    @property
    def why_not(self) -> str:
        """Say why it cannot be used yet, and what to do."""
        return f"Dataset {self.id} is not complete: {self.job}, which collects it, is {self.status}."

    def lines(self, *, offset: int, limit: int) -> list[bytes]:
        """Give a window of rows as they are stored."""
        if self.folder is None:
            return []
        with storage_faults(f"read the shards of {self.job}"):
            return list(read_lines(self.folder, self.index, offset=offset, limit=limit))

    def all_lines(self) -> Iterator[bytes]:
        """Give all rows as they are stored, one after the other."""
        if self.folder is not None:
            rows = sum(line.rows for line in self.index)
            with storage_faults(f"read the shards of {self.job}"):
                yield from read_lines(self.folder, self.index, offset=0, limit=rows)


def find_growing(session: Session, artifacts: ArtifactStore, dataset_id: str) -> Growing | None:
    """Find the collect that fills a dataset and has not made it; None where there is none that the viewer may see."""
    job_id = job_of(dataset_id)
    job = session.scalar(select(JobRow).where(JobRow.id == job_id, JobRow.kind == "collect", visible(JobRow.owner)))
    if job is None or job.status == "succeeded":
        return None
    folder = _newest_folder(artifacts, job_id)
    if folder is None and job.status in TERMINAL:
        return None
    with storage_faults(f"read the index of {job_id}"):
        index = read_index(folder) if folder is not None else []
    return Growing(
        id=dataset_id,
        name=job.name,
        created_at=job.created_at,
        job=job_id,
        status=job.status,
        folder=folder,
        index=index,
    )


def _newest_folder(artifacts: ArtifactStore, job_id: str) -> Path | None:
    for attempt in sorted(artifacts.attempts(job_id), reverse=True):
        folder = artifacts.attempt_dir(job_id, attempt) / FOLDER
        if (folder / INDEX).is_file():
            return folder
    return None
