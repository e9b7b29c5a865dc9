"""Own stored datasets: a row in the database, a JSONL file under the artifact root, both or neither."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from rlt_core.errors import ConflictError, InvalidRequestError, NotFoundError, RltError
from rlt_core.schemas.base import Page, new_id, now_utc
from rlt_core.schemas.datasets import Dataset, DatasetRow, DatasetRows
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.database import Database
from rlt_service.store.faults import storage_faults
from rlt_service.store.idempotency import JSON_TYPE, keep
from rlt_service.store.job_rows import jobs_using
from rlt_service.store.ownership import owner, visible
from rlt_service.store.tables import DatasetTable


class DatasetStore:
    """Immutable datasets."""

    def __init__(self, database: Database, artifacts: ArtifactStore) -> None:
        """Take a started database and the artifact folders."""
        self._database = database
        self._artifacts = artifacts

    def create(
        self, *, name: str | None, path: Path, rows: int, sha256: str, columns: Sequence[str], size_bytes: int
    ) -> Dataset:
        """Keep a validated JSONL file (one DatasetRow a line): it is moved, not copied, if `incoming_file` lent it."""
        dataset_id = new_id("ds")
        kept = self._artifacts.dataset_path(dataset_id)
        self._artifacts.keep_file(path, kept)
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
            with self._database.transaction() as session:
                session.add(row)
                location = {"content-type": JSON_TYPE, "location": f"/v1/datasets/{dataset_id}"}
                keep(session, _dataset(row), status=201, headers=location)
        except RltError:
            self._artifacts.discard(kept)
            raise
        return _dataset(row)

    def get(self, dataset_id: str) -> Dataset:
        """Return a dataset; raises NotFoundError."""
        with self._database.reading() as session:
            return _dataset(_find(session, dataset_id))

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
        data = [_dataset(row) for row in rows[:limit]]
        return Page[Dataset](data=data, has_more=len(rows) > limit, last_id=data[-1].id if data else None)

    def delete(self, dataset_id: str) -> None:
        """Delete a dataset; ConflictError while a job that has not ended reads it."""
        with self._database.transaction() as session:
            row = _find(session, dataset_id)
            if users := jobs_using(session, dataset_id):
                raise ConflictError(
                    f"Dataset {dataset_id} is read by {', '.join(users[:5])}; wait for the end, or cancel first.",
                    extra={"jobs": list(users)},
                )
            session.delete(row)
        self._artifacts.discard(self._artifacts.dataset_path(dataset_id))

    def rows(self, dataset_id: str, *, offset: int = 0, limit: int = 100) -> DatasetRows:
        """Return a window of rows in the order of the upload."""
        total = self.get(dataset_id).rows
        path = self._artifacts.dataset_path(dataset_id)
        with storage_faults(f"read {path}"), path.open(encoding="utf-8") as lines:
            window = [DatasetRow.model_validate_json(line) for line in islice(lines, offset, offset + limit)]
        return DatasetRows(data=window, offset=offset, total=total, has_more=offset + len(window) < total)

    def path(self, dataset_id: str) -> Path:
        """Return the JSONL file; raises NotFoundError when the row or the file is gone."""
        self.get(dataset_id)
        path = self._artifacts.dataset_path(dataset_id)
        if not path.is_file():
            raise NotFoundError(f"The file of dataset {dataset_id} is missing; upload the dataset again.")
        return path


def _find(session: Session, dataset_id: str) -> DatasetTable:
    row = session.scalar(select(DatasetTable).where(DatasetTable.id == dataset_id, visible(DatasetTable.owner)))
    if row is None:
        raise NotFoundError(f"There is no dataset {dataset_id!r}; GET /v1/datasets lists them.", param="/dataset")
    return row


def _dataset(row: DatasetTable) -> Dataset:
    return Dataset(
        id=row.id,
        name=row.name,
        created_at=row.created_at,
        rows=row.rows,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        columns=row.columns,
    )
