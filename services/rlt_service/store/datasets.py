"""Own stored datasets: a row in the database, a JSONL file under the artifact root, both or neither."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from rlt_core.collected import FOLDER, dataset_of, job_of, read_all, read_index
from rlt_core.errors import (
    ConflictError,
    InconsistentStateError,
    InvalidRequestError,
    NotFoundError,
    RltError,
    StorageUnavailableError,
)
from rlt_core.schemas.base import Page, new_id, now_utc
from rlt_core.schemas.datasets import Dataset, DatasetRow, DatasetRows
from rlt_core.schemas.jobs import TERMINAL, Job
from rlt_core.schemas.trainer import CollectedEvent
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.database import Database
from rlt_service.store.faults import storage_faults
from rlt_service.store.growing import Growing, find_growing
from rlt_service.store.idempotency import JSON_TYPE, keep
from rlt_service.store.job_rows import fenced_job, jobs_using
from rlt_service.store.ownership import owner, project, visible
from rlt_service.store.quotas import admit_bytes, check_room
from rlt_service.store.shared_files import fetch_dataset, share_dataset
from rlt_service.store.tables import DatasetTable, JobRow


class DatasetStore:
    """Immutable datasets."""

    def __init__(self, database: Database, artifacts: ArtifactStore) -> None:
        """Take a started database and the artifact folders."""
        self._database = database
        self._artifacts = artifacts

    def check_room(self) -> None:
        """Refuse an upload before it comes, where the caller's project can keep no more; raises QuotaExceededError."""
        if (of := project()) is not None:
            with self._database.reading() as session:
                check_room(session, project=of)

    def create(
        self, *, name: str | None, path: Path, rows: int, sha256: str, columns: Sequence[str], size_bytes: int
    ) -> Dataset:
        """Keep a validated JSONL file (one DatasetRow a line): it is moved, not copied, if `incoming_file` lent it."""
        dataset_id = new_id("ds")
        kept = self._artifacts.dataset_path(dataset_id)
        share_dataset(self._artifacts, path, dataset_id=dataset_id, sha256=sha256)
        row = DatasetTable(
            id=dataset_id,
            name=name,
            created_at=now_utc(),
            rows=rows,
            size_bytes=size_bytes,
            sha256=sha256,
            columns=list(columns),
            owner=owner(),
        )
        try:
            self._artifacts.keep_file(path, kept)
            with self._database.transaction() as session:
                admit_bytes(session, size_bytes, project=project())
                session.add(row)
                location = {"content-type": JSON_TYPE, "location": f"/v1/datasets/{dataset_id}"}
                keep(session, _dataset(row), status=201, headers=location)
        except RltError:
            self._artifacts.discard(kept)
            with suppress(StorageUnavailableError):  # what failed first is what is told
                self._drop(dataset_id, sha256)
            raise
        return _dataset(row)

    def keep_collected(self, job: Job, told: CollectedEvent) -> Dataset:
        """Make the shards of a collect its dataset, once; each row of them is read one time, none is held.

        Raises StaleAttemptError where the job is another attempt's, StorageUnavailableError, InconsistentStateError
        where shards are not as they were written.
        """
        folder, digest, size = Path(told.path), hashlib.sha256(), 0
        with self._artifacts.incoming_file() as path:
            with storage_faults(f"write the dataset of {job.id}"), path.open("wb") as target:
                try:
                    for chunk in read_all(folder, read_index(folder)):
                        target.write(chunk)
                        digest.update(chunk)
                        size += len(chunk)
                except ValueError as error:
                    raise InconsistentStateError(f"shards of {job.id} are not as they were written: {error}") from error
                target.flush()
                os.fsync(target.fileno())  # here, and not while the database waits for the move below
            row = DatasetTable(
                id=dataset_of(job.id),
                name=job.name,
                created_at=now_utc(),
                rows=told.rows,
                size_bytes=size,
                sha256=digest.hexdigest(),
                columns=told.columns,
            )
            share_dataset(self._artifacts, path, dataset_id=row.id, sha256=row.sha256)
            with self._database.transaction() as session:
                row.owner = fenced_job(session, job.id, job.attempt).owner
                known = session.scalar(select(DatasetTable).where(DatasetTable.id == row.id))
                if known is not None:
                    return _dataset(known, job=job.id)
                # Within the fence: a file that was moved for a transaction that fails is written over by the next.
                self._artifacts.keep_file(path, self._artifacts.dataset_path(row.id))
                session.add(row)
        return _dataset(row, job=job.id)

    def collected_by(self, job_id: str) -> Dataset | None:
        """Return the dataset that a collect has made, if it has."""
        with self._database.reading() as session:
            row = session.scalar(select(DatasetTable).where(DatasetTable.id == dataset_of(job_id)))
            return _dataset(row, job=job_id) if row is not None else None

    def discard_shards(self, job_id: str) -> None:
        """Remove the shards of a collect whose dataset was made: all that they hold lies there."""
        for attempt in self._artifacts.attempts(job_id):
            self._artifacts.discard(self._artifacts.attempt_dir(job_id, attempt) / FOLDER)

    def get(self, dataset_id: str) -> Dataset:
        """Return a dataset, also one that grows; raises NotFoundError."""
        with self._database.reading() as session:
            found = self._known(session, dataset_id)
            if isinstance(found, Growing):
                return found.dataset
            return _dataset(found, job=_collects(session, [found.id]).get(found.id))

    def _known(self, session: Session, dataset_id: str) -> DatasetTable | Growing:
        """Find a dataset, or the collect that fills it; raises NotFoundError."""
        row = session.scalar(select(DatasetTable).where(DatasetTable.id == dataset_id, visible(DatasetTable.owner)))
        found = row or find_growing(session, self._artifacts, dataset_id)
        if found is None:
            raise NotFoundError(f"There is no dataset {dataset_id!r}; GET /v1/datasets lists them.", param="/dataset")
        return found

    def _whole(self, session: Session, dataset_id: str) -> DatasetTable:
        """Find a dataset that is complete; raises NotFoundError, which says why another is none."""
        found = self._known(session, dataset_id)
        if isinstance(found, Growing):
            raise NotFoundError(found.why_not, param="/dataset")
        return found

    def list(self, *, limit: int = 20, after: str | None = None) -> Page[Dataset]:
        """Return a page, newest first."""
        query = (
            select(DatasetTable)
            .where(visible(DatasetTable.owner))
            .order_by(DatasetTable.ordinal.desc())
            .limit(limit + 1)
        )
        with self._database.reading() as session:
            if after is not None:
                last = session.scalar(
                    select(DatasetTable.ordinal).where(DatasetTable.id == after, visible(DatasetTable.owner))
                )
                if last is None:
                    raise InvalidRequestError(f"`after` names no dataset: {after!r}.", param="/after")
                query = query.where(DatasetTable.ordinal < last)
            rows = list(session.scalars(query))
            jobs = _collects(session, [row.id for row in rows])
        data = [_dataset(row, job=jobs.get(row.id)) for row in rows[:limit]]
        return Page[Dataset](data=data, has_more=len(rows) > limit, last_id=data[-1].id if data else None)

    def delete(self, dataset_id: str) -> None:
        """Delete a dataset; ConflictError while a job that has not ended reads it, or fills it.

        Where the store of all machines does not answer, StorageUnavailableError, and it is there as before.
        """
        with self._database.transaction() as session:
            row = self._known(session, dataset_id)
            if isinstance(row, Growing):
                self._delete_growing(row)
                return
            if users := jobs_using(session, dataset_id):
                raise ConflictError(
                    f"Dataset {dataset_id} is read by {', '.join(users[:5])}; wait for the end, or cancel first.",
                    extra={"jobs": list(users)},
                )
            sha256 = row.sha256
            session.delete(row)
            session.flush()
            self._drop(dataset_id, sha256)  # before the end of the row, without which nobody could ask again
        self._artifacts.discard(self._artifacts.dataset_path(dataset_id))

    def _drop(self, dataset_id: str, sha256: str) -> None:
        if self._artifacts.objects is not None:
            self._artifacts.objects.drop_dataset(dataset_id=dataset_id, sha256=sha256)

    def _delete_growing(self, found: Growing) -> None:
        if found.status not in TERMINAL:
            raise ConflictError(f"{found.why_not} Cancel it first.", extra={"jobs": [found.job]})
        self.discard_shards(found.job)

    def rows(self, dataset_id: str, *, offset: int = 0, limit: int = 100) -> DatasetRows:
        """Return a window of rows in their order; of one that grows, of those that are there."""
        with self._database.reading() as session:
            found = self._known(session, dataset_id)
            total = found.dataset.rows if isinstance(found, Growing) else found.rows
            sha256 = found.dataset.sha256 if isinstance(found, Growing) else found.sha256
        if isinstance(found, Growing):
            lines = found.lines(offset=offset, limit=limit)
        else:
            path = fetch_dataset(self._artifacts, dataset_id=dataset_id, sha256=sha256)
            with storage_faults(f"read {path}"), path.open("rb") as file:
                lines = list(islice(file, offset, offset + limit))
        window = [DatasetRow.model_validate_json(line) for line in lines]
        return DatasetRows(data=window, offset=offset, total=total, has_more=offset + len(window) < total)

    def path(self, dataset_id: str) -> Path:
        """Return the JSONL file; raises NotFoundError when the row or the file is gone, or the dataset still grows."""
        with self._database.reading() as session:
            sha256 = self._whole(session, dataset_id).sha256
        path = fetch_dataset(self._artifacts, dataset_id=dataset_id, sha256=sha256)
        if not path.is_file():
            raise NotFoundError(f"The file of dataset {dataset_id} is missing; upload the dataset again.")
        return path

    def lines(self, dataset_id: str) -> Iterator[bytes]:
        """Give all rows as they are stored; of one that grows, those that are there. Raises NotFoundError at once."""
        with self._database.reading() as session:
            found = self._known(session, dataset_id)
        return found.all_lines() if isinstance(found, Growing) else _lines(self.path(dataset_id))


def _lines(path: Path) -> Iterator[bytes]:
    with storage_faults(f"read {path}"), path.open("rb") as file:
        yield from file


def _collects(session: Session, dataset_ids: Sequence[str]) -> dict[str, str]:
    """Give the collect of each dataset that one has made."""
    jobs = {job_of(dataset_id): dataset_id for dataset_id in dataset_ids}
    known = session.scalars(select(JobRow.id).where(JobRow.id.in_(jobs), JobRow.kind == "collect"))
    return {jobs[job_id]: job_id for job_id in known}


def _dataset(row: DatasetTable, *, job: str | None = None) -> Dataset:
    return Dataset(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        rows=row.rows,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        columns=row.columns,
        job=job,
    )
