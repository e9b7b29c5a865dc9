"""Own Parquet: rows in groups, each sent when it is full. The one module that touches pyarrow."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args, get_origin

from rlt_core.errors import NotAvailableYetError
from rlt_core.schemas.collect import PROVENANCE, Provenance
from rlt_core.schemas.datasets import DatasetRow
from rlt_service.control.batched import batched

GROUP_ROWS = 1000
_TEXTS = ("id", "question", "solution", "answer", "reasoning_trace")


class _Sink:
    """A file that only grows: what was written is handed on, and its place in the whole is known."""

    def __init__(self) -> None:
        self._written = bytearray()
        self._at = 0
        self.closed = False

    def write(self, data: Any) -> int:
        self._written += data
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        taken, self._written = bytes(self._written), bytearray()
        return taken


def parquet_chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Write rows as Parquet: texts, `metadata` as JSON and, of collected rows, `collect` as a struct of its types.

    Raises NotAvailableYetError at once where pyarrow is not installed.
    """
    try:
        import pyarrow  # pyright: ignore[reportMissingTypeStubs] - pyarrow carries no types
        from pyarrow import parquet  # pyright: ignore[reportMissingTypeStubs] - as above
    except ImportError as error:
        raise NotAvailableYetError(
            "this server has no pyarrow, which writes Parquet: pip install pyarrow there, or download jsonl",
            param="/format",
        ) from error
    return _chunks(lines, arrow=pyarrow, parquet=parquet)


def _chunks(lines: Iterable[bytes], *, arrow: Any, parquet: Any) -> Iterator[bytes]:
    sink, schema = _Sink(), _schema(arrow)
    with parquet.ParquetWriter(arrow.PythonFile(sink, mode="w"), schema, compression="zstd") as writer:
        for some in batched(lines, GROUP_ROWS):
            rows = [_record(DatasetRow.model_validate_json(line)) for line in some]
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
            yield sink.take()
    yield sink.take()


def _record(row: DatasetRow) -> Mapping[str, Any]:
    rest = {name: value for name, value in row.metadata.items() if name != PROVENANCE}
    texts = {name: getattr(row, name) for name in _TEXTS}
    return texts | {"metadata": json.dumps(rest, ensure_ascii=False), PROVENANCE: row.metadata.get(PROVENANCE)}


def _schema(arrow: Any) -> Any:
    types = {str: arrow.string(), int: arrow.int64(), float: arrow.float64(), bool: arrow.bool_()}
    told = [
        arrow.field(
            name, types[_plain(field.annotation)], nullable=not field.is_required() or _is_optional(field.annotation)
        )
        for name, field in Provenance.model_fields.items()
    ]
    texts = [arrow.field(name, arrow.string()) for name in (*_TEXTS, "metadata")]
    return arrow.schema([*texts, arrow.field(PROVENANCE, arrow.struct(told))])


def _is_optional(annotation: Any) -> bool:
    return type(None) in get_args(annotation)


def _plain(annotation: Any) -> type:
    """Give the one type of a field that may be null, and text for a choice of words."""
    if _is_optional(annotation):
        return next(each for each in get_args(annotation) if each is not type(None))
    return str if get_origin(annotation) is not None else annotation
