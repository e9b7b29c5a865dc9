"""Own rows that lie in a file and are read when they are asked for: a dataset may be larger than memory."""

import os
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import overload

from rlt_core.schemas.datasets import DatasetRow

ReadRow = Callable[[bytes, int], DatasetRow]
"""Makes a line with its number, from 1, a row; raises what its caller is to hear."""
BLOCK_BYTES = 2**20
HELD_BYTES = 16 * 2**20
"""A file of at most this size is held as rows: who reads them several times parses them once."""


def plain_row(line: bytes, number: int) -> DatasetRow:
    """Read a line as it stands; pydantic's ValidationError where it is no row."""
    return DatasetRow.model_validate_json(line)


class RowsAt(Sequence[DatasetRow]):
    """Some rows of others, by their numbers: 8 bytes each."""

    def __init__(self, rows: Sequence[DatasetRow], numbers: Iterable[int]) -> None:
        self._rows = rows
        self._numbers = array("Q", numbers)

    def __len__(self) -> int:  # noqa: D105 - as any sequence's
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> DatasetRow: ...
    @overload
    def __getitem__(self, index: slice) -> "RowsAt": ...
    def __getitem__(self, index: int | slice) -> "DatasetRow | RowsAt":  # noqa: D105 - as any sequence's
        if isinstance(index, slice):
            return RowsAt(self._rows, self._numbers[index])
        return self._rows[self._numbers[index]]


class RowFile(Sequence[DatasetRow]):
    """The rows of a JSONL file, of which the places are held: 8 bytes a row. The file must not change meanwhile.

    Any thread may read; a file that is deleted can be read until the last holder is gone.
    """

    def __init__(self, path: Path, *, read: ReadRow = plain_row) -> None:
        """Open the file and find its lines; raises OSError."""
        self._read = read
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._file)
        self._starts = array("Q", _line_starts(self._file))

    def __len__(self) -> int:  # noqa: D105 - as any sequence's
        return len(self._starts) - 1

    @overload
    def __getitem__(self, index: int) -> DatasetRow: ...
    @overload
    def __getitem__(self, index: slice) -> RowsAt: ...
    def __getitem__(self, index: int | slice) -> DatasetRow | RowsAt:  # noqa: D105 - as any sequence's
        if isinstance(index, slice):
            return RowsAt(self, range(len(self))[index])
        number = range(len(self))[index]
        start, end = self._starts[number], self._starts[number + 1]
        return self._read(os.pread(self._file, end - start, start), number + 1)


def open_rows(path: Path, *, read: ReadRow = plain_row) -> Sequence[DatasetRow]:
    """Open a file's rows, or hold them where it is small; raises OSError, and what `read` raises for those held."""
    rows = RowFile(path, read=read)
    return tuple(rows) if path.stat().st_size <= HELD_BYTES else rows


def _line_starts(file: int) -> Iterator[int]:
    """Give the byte at which each line begins, and last the end of the file."""
    offset, last_end = 0, 0
    yield 0
    while block := os.pread(file, BLOCK_BYTES, offset):
        place = block.find(b"\n")
        while place >= 0:
            last_end = offset + place + 1
            yield last_end
            place = block.find(b"\n", place + 1)
        offset += len(block)
    if last_end < offset:  # the last line has no end of line
        yield offset
