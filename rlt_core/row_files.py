"""Own rows that lie in a file and are read when they are asked for: a dataset may be larger than memory."""

import hashlib
import os
import weakref
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import overload

from rlt_core.schemas.datasets import DatasetRow

ReadRow = Callable[[bytes, int], DatasetRow]
"""Makes a line with its number, from 1, a row; raises what its caller is to hear."""
BLOCK_BYTES = 2**20
PLACE_BITS = 40
"""Of a row's number, beside the hash of its id."""
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


class RowsById(Mapping[str, DatasetRow]):
    """Finds rows by their ids, which are strings here, without holding either: 16 bytes a row."""

    def __init__(self, rows: Sequence[DatasetRow]) -> None:
        """Go through the rows once."""
        self._rows = rows
        placed = sorted(_id_hash(str(row.id)) << PLACE_BITS | number for number, row in enumerate(rows))
        self._hashes = array("Q", (both >> PLACE_BITS for both in placed))
        self._places = array("Q", (both & (1 << PLACE_BITS) - 1 for both in placed))

    def __len__(self) -> int:  # noqa: D105 - as any mapping's
        return len(self._hashes)

    def __iter__(self) -> Iterator[str]:  # noqa: D105 - as any mapping's
        return (str(row.id) for row in self._rows)

    def __getitem__(self, row_id: str) -> DatasetRow:  # noqa: D105 - as any mapping's
        wanted = _id_hash(row_id)
        place = bisect_left(self._hashes, wanted)
        while place < len(self._hashes) and self._hashes[place] == wanted:
            row = self._rows[self._places[place]]
            if str(row.id) == row_id:
                return row
            place += 1
        raise KeyError(row_id)


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


def _id_hash(row_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(row_id.encode(), digest_size=8).digest(), "big")


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
