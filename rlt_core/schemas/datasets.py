"""Wire types of /v1/datasets: rows, what an upload came to, column templates."""

from typing import Any, Literal

from pydantic import Field

from rlt_core.schemas.base import UtcTime, WireModel


class DatasetRow(WireModel):
    """One question; columns that the contract does not name are kept as `metadata`."""

    id: str | None = None
    question: str = Field(min_length=1)
    solution: str = Field(min_length=1)
    answer: str | None = None
    reasoning_trace: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict[str, Any])


class Dataset(WireModel):
    """A stored dataset; immutable once it is complete."""

    id: str
    object: Literal["dataset"] = "dataset"
    name: str | None = None
    created_at: UtcTime
    rows: int
    size_bytes: int
    sha256: str
    columns: list[str]
    """Columns that at least one row has."""
    complete: bool = True
    """False while a collect fills it, or where that has failed: its rows can be read, and no job can be given it."""
    job: str | None = None
    """The collect that filled it."""


class BadLine(WireModel):
    """What was wrong with one line of an upload."""

    line: int
    """Counted from 1."""
    message: str


class DatasetDeleted(WireModel):
    """Answer of DELETE."""

    id: str
    object: Literal["dataset.deleted"] = "dataset.deleted"
    deleted: bool = True


class DatasetRows(WireModel):
    """A window of rows."""

    object: Literal["list"] = "list"
    data: list[DatasetRow]
    offset: int
    total: int
    has_more: bool
