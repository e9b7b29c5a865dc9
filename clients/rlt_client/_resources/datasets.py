"""`client.datasets`: upload rows, read them back."""

import asyncio
import contextlib
import json
from collections.abc import Generator, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any, Final, Literal

from rlt_client._calls import Call, Content, Listing, by_last_id, by_offset, get, path_of, reader, write
from rlt_client._errors import APIError
from rlt_client._methods import Awaiting, Blocking, call, every
from rlt_client._resources.bodies import body_of
from rlt_core.schemas.base import Page
from rlt_core.schemas.datasets import Dataset, DatasetDeleted, DatasetRow, DatasetRows

Row = DatasetRow | Mapping[str, Any]
DownloadForm = Literal["jsonl", "parquet", "messages", "prompt_completion", "sharegpt"]

JSONL: Final = "application/jsonl"
PIECE_BYTES: Final = 64 * 1024


class DatasetCalls:
    """Immutable uploads of questions with their solutions."""

    @call
    def create(
        self,
        source: str | Path | Iterable[Row],
        *,
        name: str | None = None,
        columns: Mapping[str, str] | None = None,
        benchmark: str | None = None,
        idempotency_key: str | None = None,
    ) -> Call[Dataset]:
        """Upload a JSONL file by its path, or rows; nothing is held in memory whole.

        Sent again with the same `idempotency_key` (within a day), it gives the first dataset and makes no second.
        A file and a list of rows are sent again by themselves where that helps; what can be read once only is not.

        `columns` maps the contract's columns by templates over the uploaded row, such as
        `{"solution": "The answer is {answer}."}`; `benchmark` names whose columns the rows have (gsm8k, math-500,
        aime-2024, gpqa-diamond, countdown). Raises UnprocessableEntityError whose `extra["lines"]`
        has every bad line with its number (the first hundred); then nothing was stored.
        """
        params = {"name": name, "columns": json.dumps(dict(columns)) if columns else None, "benchmark": benchmark}
        return Call(
            method="POST",
            path=path_of("datasets"),
            read=reader(Dataset),
            content=_content(source),
            params=params,
            headers={"Content-Type": JSONL},
            keyed=not isinstance(source, Iterator),
            idempotency_key=idempotency_key,
        )

    @call
    def get(self, dataset_id: str) -> Call[Dataset]:
        """Read what an upload came to."""
        return get(path_of("datasets", dataset_id), into=Dataset)

    @call
    def list(self, *, limit: int | None = None, after: str | None = None) -> Call[Page[Dataset]]:
        """List datasets, newest first: one page. `iter` gives all."""
        return get(path_of("datasets"), into=Page[Dataset], params={"limit": limit, "after": after})

    @every
    def iter(self) -> Listing[Dataset]:
        """Give every dataset, newest first."""
        return by_last_id(get(path_of("datasets"), into=Page[Dataset]))

    @call
    def rows(self, dataset_id: str, *, offset: int | None = None, limit: int | None = None) -> Call[DatasetRows]:
        """Read a window of rows. `iter_rows` gives all."""
        return get(path_of("datasets", dataset_id, "rows"), into=DatasetRows, params={"offset": offset, "limit": limit})

    @every
    def iter_rows(self, dataset_id: str) -> Listing[DatasetRow]:
        """Give every row."""
        path = path_of("datasets", dataset_id, "rows")
        return by_offset(lambda offset: get(path, into=DatasetRows, params={"offset": offset}))

    @call
    def delete(self, dataset_id: str) -> Call[DatasetDeleted]:
        """Delete; raises ConflictError while a job that has not ended names it."""
        return write("DELETE", path_of("datasets", dataset_id), into=DatasetDeleted)


class Datasets(DatasetCalls, Blocking):
    """Immutable uploads of questions with their solutions."""

    def download(self, dataset_id: str, target: str | Path, *, format: DownloadForm = "jsonl") -> Path:
        """Write all rows to a file, which is there only once it is whole; nothing is held in memory.

        Of a dataset that a collect fills, those that are there. `format`: `jsonl` as stored, `parquet`, or chats in
        JSONL: `messages`, `prompt_completion`, `sharegpt`.
        """
        with _whole(Path(target)) as file, self._api.stream(_download(dataset_id, format)) as response:
            for piece in response.iter_bytes():
                file.write(piece)
        return Path(target)


class AsyncDatasets(DatasetCalls, Awaiting):
    """Immutable uploads of questions with their solutions, awaited."""

    async def download(self, dataset_id: str, target: str | Path, *, format: DownloadForm = "jsonl") -> Path:
        """Write all rows to a file, as `Client.datasets.download` does."""
        with _whole(Path(target)) as file:
            async with self._api.stream(_download(dataset_id, format)) as response:
                async for piece in response.aiter_bytes():
                    await asyncio.to_thread(file.write, piece)
        return Path(target)


@contextlib.contextmanager
def _whole(path: Path) -> Generator[IO[bytes]]:
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise APIError(f"cannot write {path}: {error.strerror}", param="target") from error
    finally:
        part.unlink(missing_ok=True)


def _download(dataset_id: str, format: DownloadForm) -> Call[Any]:
    path = path_of("datasets", dataset_id, "download")
    return Call(method="GET", path=path, read=reader(Dataset), params={"format": format}, repeatable=True)


def _content(source: str | Path | Iterable[Row]) -> Content:
    if not isinstance(source, str | Path):
        return partial(_lines, source)
    try:
        Path(source).open("rb").close()
    except OSError as error:
        raise APIError(f"cannot read {source}: {error.strerror}", param="source") from error
    return partial(_pieces, Path(source))


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def _lines(rows: Iterable[Row]) -> Iterator[bytes]:
    for row in rows:
        yield json.dumps(body_of(row), ensure_ascii=False).encode() + b"\n"
