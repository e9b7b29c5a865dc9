"""Own what a line of an upload must be, and the way from a raw file to a validated one. No HTTP, no database."""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from pydantic import ValidationError

from rlt_core.benchmarks import Benchmark
from rlt_core.columns import ColumnMap
from rlt_core.errors import InvalidDatasetError
from rlt_core.schemas.datasets import BadLine, DatasetRow

MAX_BAD_LINES = 100
"""Reading stops here: who has a hundred bad lines has one mistake a hundred times."""
MAX_COLUMNS = 256
MAX_ID_CHARACTERS = 200
_TEXTS = ("question", "solution", "answer", "reasoning_trace")
_NAMED = ("id", *_TEXTS)


RowMap = ColumnMap | Benchmark
"""What brings an uploaded row into the contract's columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLimits:
    """Sizes that an upload and each of its lines may have."""

    max_rows: int
    max_line_bytes: int
    max_text_characters: int
    max_depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidatedRows:
    """What a file of rows came to, as written."""

    rows: int
    size_bytes: int
    sha256: str
    columns: list[str]


@dataclass(slots=True)
class _Tally:
    rows: int = 0
    size_bytes: int = 0
    bad: list[BadLine] = field(default_factory=list[BadLine])
    ids: set[str] = field(default_factory=set[str])
    columns: set[str] = field(default_factory=set[str])


def validate_rows(source: BinaryIO, target: BinaryIO, *, columns: RowMap, limits: RowLimits) -> ValidatedRows:
    """Read JSONL, map its columns, and write one DatasetRow a line; rows without an id become `row-<n>`.

    Raises InvalidDatasetError for an upload without rows, or with bad lines (the first hundred in `extra["lines"]`).
    """
    tally, digest = _Tally(), hashlib.sha256()
    for number, line in _lines(source, max_line_bytes=limits.max_line_bytes):
        try:
            encoded = _encode(line, tally=tally, columns=columns, limits=limits)
        except InvalidDatasetError as error:
            tally.bad.append(BadLine(line=number, message=error.detail))
            if len(tally.bad) == MAX_BAD_LINES:
                break
            continue
        if tally.rows > limits.max_rows:
            raise InvalidDatasetError(f"nothing was stored: more than {limits.max_rows} rows; split the dataset")
        target.write(encoded)
        digest.update(encoded)
        tally.size_bytes += len(encoded)
    if tally.bad:
        raise _refusal(tally.bad)
    if not tally.rows:
        raise InvalidDatasetError("the upload holds no row: send one JSON object a line, with question and solution")
    names = [name for name in _NAMED if name in tally.columns] + sorted(tally.columns - set(_NAMED))
    return ValidatedRows(rows=tally.rows, size_bytes=tally.size_bytes, sha256=digest.hexdigest(), columns=names)


def _refusal(bad: list[BadLine]) -> InvalidDatasetError:
    count = f"the first {MAX_BAD_LINES} bad lines are listed" if len(bad) == MAX_BAD_LINES else f"bad lines: {len(bad)}"
    return InvalidDatasetError(
        f"nothing was stored: {count}. Line {bad[0].line}: {bad[0].message}",
        extra={"lines": [line.model_dump() for line in bad]},
    )


def _lines(source: BinaryIO, *, max_line_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Give lines that are not blank, with numbers from 1; one too long is cut just past the limit."""
    number = 0
    while line := source.readline(max_line_bytes + 1):
        number += 1
        rest = line
        while len(rest) > max_line_bytes and not rest.endswith(b"\n"):
            rest = source.readline(max_line_bytes + 1)
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            yield number, line


def _encode(line: bytes, *, tally: _Tally, columns: RowMap, limits: RowLimits) -> bytes:
    if len(line) > limits.max_line_bytes:
        raise InvalidDatasetError(f"longer than {limits.max_line_bytes} bytes")
    body = columns.apply(_parse(line, limits=limits), max_characters=limits.max_text_characters)
    row = _row(body, number=tally.rows + 1, limits=limits)
    if len(row.id or "") > MAX_ID_CHARACTERS:
        raise InvalidDatasetError(f"the id has {len(row.id or '')} characters, {MAX_ID_CHARACTERS} are allowed")
    if row.id in tally.ids:
        raise InvalidDatasetError(f"the id {row.id!r} stands in an earlier line too: ids are unique")
    seen = tally.columns | {name for name in _NAMED if getattr(row, name) is not None} | set(row.metadata)
    if len(seen) > MAX_COLUMNS:
        raise InvalidDatasetError(f"with this line the dataset has {len(seen)} columns, {MAX_COLUMNS} are allowed")
    tally.columns = seen
    tally.ids.add(str(row.id))
    tally.rows += 1
    return (row.model_dump_json(exclude_none=True) + "\n").encode()


def _parse(line: bytes, *, limits: RowLimits) -> dict[str, object]:
    try:
        body = json.loads(
            line.decode("utf-8"), parse_constant=_refuse_number, parse_float=_finite, object_pairs_hook=_unique_keys
        )
    except UnicodeDecodeError as error:
        raise InvalidDatasetError(f"not UTF-8 at byte {error.start + 1} of the line") from error
    except RecursionError as error:
        raise InvalidDatasetError(f"nested deeper than {limits.max_depth}") from error
    except json.JSONDecodeError as error:
        raise InvalidDatasetError(f"not JSON: {error.msg} at character {error.pos + 1}") from error
    except ValueError as error:
        raise InvalidDatasetError(f"not JSON that is taken: {error}") from error
    if not isinstance(body, dict):
        raise InvalidDatasetError('not a JSON object: write {"question": "…", "solution": "…"}')
    row: dict[str, object] = body  # pyright: ignore[reportUnknownVariableType] - keys of a JSON object are texts
    _check_values(row, max_depth=limits.max_depth)
    return row


def _row(body: dict[str, object], *, number: int, limits: RowLimits) -> DatasetRow:
    present = {name: value for name, value in body.items() if name in _NAMED and value is not None}
    for name in ("question", "solution"):
        if name not in present:
            raise InvalidDatasetError(
                f"no {name}; this line has {', '.join(sorted(body)) or 'nothing'}: "
                f'rename the column, or map it with ?columns={{"{name}": "{{…}}"}}'
            )
    for name, value in present.items():
        if not isinstance(value, str):
            raise InvalidDatasetError(
                f'{name} must be text, not {json.dumps(value)[:80]}: ?columns={{"{name}": "{{{name}}}"}} writes '
                "numbers as text"
            )
        if name != "answer" and not value.strip():
            raise InvalidDatasetError(f"{name} is empty")
        if len(value) > limits.max_text_characters:
            raise InvalidDatasetError(f"{name} has {len(value)} characters, {limits.max_text_characters} are allowed")
    try:
        row: dict[str, Any] = {"id": f"row-{number}", **present, "metadata": _metadata(body)}
        return DatasetRow.model_validate(row)
    except ValidationError as error:
        raise InvalidDatasetError(error.errors()[0]["msg"]) from error


def _metadata(body: dict[str, object]) -> dict[str, object]:
    """Gather the columns that the contract does not name, beside those that were metadata before."""
    given = body.get("metadata")
    if given is not None and not isinstance(given, dict):
        raise InvalidDatasetError("metadata must be an object: the other columns are gathered in it")
    inner: dict[str, object] = given or {}  # pyright: ignore[reportUnknownVariableType] - keys of JSON are texts
    outer = {name: value for name, value in body.items() if name not in (*_NAMED, "metadata")}
    if both := sorted(inner.keys() & outer.keys()):
        raise InvalidDatasetError(f"{both[0]!r} stands both in metadata and beside it")
    return inner | outer


def _check_values(value: object, *, max_depth: int, depth: int = 1) -> None:
    """Refuse what could not be stored and read back: nesting too deep, halves of surrogate pairs."""
    if isinstance(value, str):
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidDatasetError("a text holds half of a surrogate pair (\\ud800 to \\udfff)") from error
    elif isinstance(value, dict | list):
        if depth > max_depth:
            raise InvalidDatasetError(f"nested deeper than {max_depth}")
        children: list[object] = [*value, *value.values()] if isinstance(value, dict) else value  # pyright: ignore[reportUnknownVariableType] - JSON
        for child in children:
            _check_values(child, max_depth=max_depth, depth=depth + 1)


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    body = dict(pairs)
    if len(body) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return body


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _refuse_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")
