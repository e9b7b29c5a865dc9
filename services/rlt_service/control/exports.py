"""Own the forms in which a dataset is downloaded, each written while its rows are read. No HTTP, no database."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

from rlt_core.chat_rows import FOLDED, ChatForm, chat_row
from rlt_core.errors import InvalidRequestError, NotFoundError
from rlt_core.formats import get_format
from rlt_core.schemas.collect import PROVENANCE
from rlt_core.schemas.datasets import Dataset, DatasetRow
from rlt_service.control.batched import batched
from rlt_service.control.parquet import parquet_chunks
from rlt_service.control.upload import JSONL_TYPES

DownloadForm = Literal["jsonl", "parquet", "messages", "prompt_completion", "sharegpt"]
PARQUET_TYPE = "application/vnd.apache.parquet"
_BATCH = 256
"""Rows that become one part of the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """What is sent: bytes in parts, and what they are called."""

    chunks: Iterator[bytes]
    media_type: str
    file_name: str


def export(dataset: Dataset, lines: Iterable[bytes], *, form: DownloadForm, format_id: str) -> Export:
    """Write a dataset's lines in a form; `format_id` is what this server speaks.

    Raises InvalidRequestError for a chat form of a dataset without explanations.
    """
    chat: ChatForm
    match form:
        case "jsonl":
            chunks, suffix, media_type = _joined(lines), "jsonl", JSONL_TYPES[0]
        case "parquet":
            chunks, suffix, media_type = parquet_chunks(lines), "parquet", PARQUET_TYPE
        case "messages" | "prompt_completion" | "sharegpt":
            chat = form
            _check_explained(dataset, form=form)
            write = partial(_chat_line, form=chat, format_id=format_id)
            chunks, suffix, media_type = _joined(_written(lines, write)), f"{form}.jsonl", JSONL_TYPES[0]
    return Export(chunks=chunks, media_type=media_type, file_name=f"{dataset.id}.{suffix}")


def _check_explained(dataset: Dataset, *, form: str) -> None:
    if dataset.complete and "reasoning_trace" not in dataset.columns:
        raise InvalidRequestError(
            f"{form} is of questions with an explanation, and {dataset.id} has none (no reasoning_trace): collect "
            "some over it, or download jsonl",
            param="/format",
        )


def _joined(lines: Iterable[bytes]) -> Iterator[bytes]:
    for some in batched(lines, _BATCH):
        yield b"".join(some)


def _written(lines: Iterable[bytes], write: Callable[[DatasetRow], bytes | None]) -> Iterator[bytes]:
    for line in lines:
        if (text := write(DatasetRow.model_validate_json(line))) is not None:
            yield text


def _chat_line(row: DatasetRow, *, form: ChatForm, format_id: str) -> bytes | None:
    """Write a row with the tags of the format in which it was explained, else of this server's."""
    told = row.metadata.get(PROVENANCE)
    named = str(told["format"]) if isinstance(told, dict) and "format" in told else format_id  # pyright: ignore[reportUnknownArgumentType] - JSON
    try:
        format = get_format(named.removesuffix(FOLDED))
    except NotFoundError:
        format = get_format(format_id.removesuffix(FOLDED))
    made = chat_row(row, form=form, format=format, folded=named.endswith(FOLDED))
    return None if made is None else json.dumps(made, ensure_ascii=False).encode() + b"\n"
