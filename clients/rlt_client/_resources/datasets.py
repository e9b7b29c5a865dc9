"""`client.datasets`: upload rows, read them back."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from rlt_client._api import Api, once, path_of
from rlt_client._errors import APIError
from rlt_client._resources.bodies import body_of
from rlt_core.schemas.base import Page
from rlt_core.schemas.datasets import Dataset, DatasetDeleted, DatasetRow, DatasetRows

Row = DatasetRow | Mapping[str, Any]
DownloadForm = Literal["jsonl", "parquet", "messages", "prompt_completion", "sharegpt"]

JSONL = "application/jsonl"


class Datasets:
    """Immutable uploads of questions with their solutions."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def create(
        self,
        source: str | Path | Iterable[Row],
        *,
        name: str | None = None,
        columns: Mapping[str, str] | None = None,
        benchmark: str | None = None,
        idempotency_key: str | None = None,
        on_sent: Callable[[int], None] | None = None,
    ) -> Dataset:
        """Upload a JSONL file by its path, or rows; nothing is held in memory whole.

        Sent again with the same `idempotency_key` (within a day), it gives the first dataset and makes no second.

        `columns` maps the contract's columns by templates over the uploaded row, such as
        `{"solution": "The answer is {answer}."}`; `benchmark` names whose columns the rows have (gsm8k, math-500,
        aime-2024, gpqa-diamond, countdown). Raises UnprocessableEntityError whose `extra["lines"]`
        has every bad line with its number (the first hundred); then nothing was stored. `on_sent` is told the bytes
        that were handed to the connection so far.
        """
        params = {"name": name, "columns": json.dumps(dict(columns)) if columns else None, "benchmark": benchmark}
        if isinstance(source, str | Path):
            return self._upload_file(Path(source), params=params, headers=once(idempotency_key), on_sent=on_sent)
        return self._upload(_told(_lines(source), on_sent), params=params, headers=once(idempotency_key))

    def get(self, dataset_id: str) -> Dataset:
        """Read what an upload came to."""
        return self._api.get(path_of("datasets", dataset_id), into=Dataset)

    def list(self, *, limit: int | None = None, after: str | None = None) -> Page[Dataset]:
        """List datasets, newest first."""
        return self._api.get(path_of("datasets"), into=Page[Dataset], params={"limit": limit, "after": after})

    def rows(self, dataset_id: str, *, offset: int | None = None, limit: int | None = None) -> DatasetRows:
        """Read a window of rows."""
        return self._api.get(
            path_of("datasets", dataset_id, "rows"), into=DatasetRows, params={"offset": offset, "limit": limit}
        )

    def download(self, dataset_id: str, target: str | Path, *, format: DownloadForm = "jsonl") -> Path:
        """Write all rows to a file, which is there only once it is whole; nothing is held in memory.

        Of a dataset that a collect fills, those that are there. `format`: `jsonl` as stored, `parquet`, or chats in
        JSONL: `messages`, `prompt_completion`, `sharegpt`.
        """
        params = {"format": format}
        path = Path(target)
        part = path.with_name(f".{path.name}.part")
        try:
            with (
                self._api.stream("GET", path_of("datasets", dataset_id, "download"), params=params) as response,
                part.open("wb") as file,
            ):
                for chunk in response.iter_bytes():
                    file.write(chunk)
            part.replace(path)
        except OSError as error:
            raise APIError(f"cannot write {path}: {error.strerror}", param="target") from error
        finally:
            part.unlink(missing_ok=True)
        return path

    def delete(self, dataset_id: str) -> DatasetDeleted:
        """Delete; raises ConflictError while a job that has not ended names it."""
        return self._api.call("DELETE", path_of("datasets", dataset_id), into=DatasetDeleted)

    def _upload_file(
        self,
        path: Path,
        *,
        params: Mapping[str, str | None],
        headers: Mapping[str, str],
        on_sent: Callable[[int], None] | None,
    ) -> Dataset:
        try:
            file = path.open("rb")
        except OSError as error:
            raise APIError(f"cannot read {path}: {error.strerror}", param="source") from error
        with file:
            return self._upload(_told(file, on_sent), params=params, headers=headers)

    def _upload(
        self, content: Iterable[bytes], *, params: Mapping[str, str | None], headers: Mapping[str, str]
    ) -> Dataset:
        response = self._api.send(
            "POST", path_of("datasets"), content=content, params=params, headers={"Content-Type": JSONL, **headers}
        )
        return self._api.read(response, into=Dataset)


def _lines(rows: Iterable[Row]) -> Iterator[bytes]:
    for row in rows:
        yield json.dumps(body_of(row), ensure_ascii=False).encode() + b"\n"


def _told(content: Iterable[bytes], on_sent: Callable[[int], None] | None) -> Iterable[bytes]:
    """Tell the bytes so far each time the connection asks for more."""
    if on_sent is None:
        return content
    return _counted(content, on_sent)


def _counted(content: Iterable[bytes], on_sent: Callable[[int], None]) -> Iterator[bytes]:
    sent = 0
    for part in content:
        yield part
        sent += len(part)
        on_sent(sent)
