"""Own the form in which collected rows lie on disk: a file a shard, an index that grows, read while it does.

A shard's first line says what follows, with its size and hash; then come its rows, one DatasetRow a line. The index
names shards in their order, each once all before it are whole: what it names never changes, so that a reader may page.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from rlt_core.schemas.base import WireModel
from rlt_core.schemas.collect import SkippedRow

FOLDER = "collected"
"""In an attempt's folder."""
INDEX = "index.jsonl"
LEAST_SHARD, MOST_SHARD, AIMED_SHARDS = 8, 256, 1000
_CHUNK_BYTES = 2**20


class ShardHead(WireModel):
    """A shard's first line."""

    job_id: str
    shard: int
    teacher: str
    student: str
    questions: int
    rows: int
    size: int
    """Bytes of the rows."""
    sha256: str
    """Of the rows."""
    columns: list[str]
    counts: dict[str, int]
    sums: dict[str, float]
    """Over all explanations, kept or not."""
    cost: dict[str, float]
    skipped: list[SkippedRow]


class IndexLine(WireModel):
    """A shard that is whole, as are all before it."""

    shard: int
    rows: int
    size: int


def dataset_of(job_id: str) -> str:
    """Name the dataset that a collect fills: known from the start, and never made twice."""
    return f"ds_{job_id.removeprefix('job_')}"


def job_of(dataset_id: str) -> str:
    """Name the job that filled a dataset, if any did."""
    return f"job_{dataset_id.removeprefix('ds_')}"


def shard_questions(total: int) -> int:
    """Give how many questions make a shard: as many as leave few files, and let rows appear soon."""
    return min(MOST_SHARD, max(LEAST_SHARD, total // AIMED_SHARDS))


def shard_name(shard: int) -> str:
    """Name a shard's file."""
    return f"shard-{shard:08}.jsonl"


def read_head(path: Path) -> ShardHead:
    """Read a shard's first line; raises ValueError where it is none, OSError."""
    with path.open("rb") as file:
        try:
            return ShardHead.model_validate_json(file.readline())
        except ValidationError as error:
            raise ValueError(f"{path.name} does not say what it holds") from error


def verified_head(path: Path) -> ShardHead:
    """Read a shard and hold its bytes against its head; raises ValueError for a link or other bytes, OSError."""
    if path.is_symlink():
        raise ValueError(f"{path.name} is a link")
    head, digest, size = read_head(path), hashlib.sha256(), 0
    for chunk in _chunks(path, size=None):
        digest.update(chunk)
        size += len(chunk)
    if (size, digest.hexdigest()) != (head.size, head.sha256):
        raise ValueError(f"{path.name} is not as it was written")
    return head


def read_index(folder: Path) -> list[IndexLine]:
    """Give the shards that can be read, in order; a last line that is being written is left out. OSError."""
    text = (folder / INDEX).read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    return [IndexLine.model_validate_json(line) for line in whole.splitlines()]


def read_lines(folder: Path, index: Sequence[IndexLine], *, offset: int, limit: int) -> Iterator[bytes]:
    """Give a window of rows as lines, reading no shard before or after it; OSError."""
    for line in index:
        if limit <= 0:
            return
        if offset >= line.rows:
            offset -= line.rows
            continue
        with (folder / shard_name(line.shard)).open("rb") as file:
            file.readline()
            for number, row in enumerate(file):
                if number >= offset and limit > 0:
                    limit -= 1
                    yield row
        offset = 0


def read_all(folder: Path, index: Sequence[IndexLine]) -> Iterator[bytes]:
    """Give the bytes of all rows, in chunks; OSError, ValueError for a shard that is shorter than the index says."""
    for line in index:
        yield from _chunks(folder / shard_name(line.shard), size=line.size)


def _chunks(path: Path, *, size: int | None) -> Iterator[bytes]:
    read = 0
    with path.open("rb") as file:
        file.readline()
        while chunk := file.read(_CHUNK_BYTES):
            read += len(chunk)
            yield chunk
    if size is not None and read != size:
        raise ValueError(f"{path.name} holds {read} bytes of rows, where the index says {size}")
