"""Rows that lie in a file are those that were written, wherever one begins to read, and nobody holds them all."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydantic import ValidationError

from rlt_core import row_files
from rlt_core.row_files import BLOCK_BYTES, HELD_BYTES, RowFile, RowsById, open_rows
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.training import Splits
from rlt_core.splits import split_rows

MANY = HELD_BYTES // 1000 + 1000


def row(number: int, *, more: str = "") -> DatasetRow:
    return DatasetRow(id=f"r{number}", question=f"{number}? {more}", solution="Ja, größer.")


def written(path: Path, rows: list[DatasetRow], *, end: str = "\n") -> Path:
    path.write_text("\n".join(row.model_dump_json(exclude_none=True) for row in rows) + end, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(MANY):
            file.write(row(number, more="x" * 1000).model_dump_json(exclude_none=True) + "\n")
    return path


@pytest.mark.parametrize("end", ["\n", ""])
def test_rows_are_those_that_were_written_with_and_without_a_last_end_of_line(tmp_path: Path, end: str) -> None:
    # Lines that straddle the blocks in which their ends are looked for, and one that is longer than a block.
    rows = [row(number, more="é" * (BLOCK_BYTES // 5)) for number in range(7)] + [row(7, more="x" * 2 * BLOCK_BYTES)]
    found = RowFile(written(tmp_path / "rows.jsonl", rows, end=end))
    assert len(found) == len(rows)
    assert list(found) == rows
    assert found[-1] == rows[-1]
    assert list(found[1:7:2]) == rows[1:7:2]
    assert list(found[2:][1:3]) == rows[3:5]
    with pytest.raises(IndexError):
        found[len(rows)]


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").touch()
    assert list(RowFile(tmp_path / "rows.jsonl")) == []


def test_a_line_that_is_no_row_is_heard_of_when_it_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", [row(0)])
    with path.open("a") as file:
        file.write("{}\n")
    found = RowFile(path)
    assert found[0] == row(0)
    with pytest.raises(ValidationError):
        found[1]


def test_a_deleted_file_can_be_read_to_its_end_by_many(large: Path, tmp_path: Path) -> None:
    rows = open_rows(written(tmp_path / "rows.jsonl", [row(number) for number in range(500)]))
    of_file = RowFile(tmp_path / "rows.jsonl")
    (tmp_path / "rows.jsonl").unlink()
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(of_file.__getitem__, range(500))) == list(rows)


def test_a_large_file_is_not_held_and_neither_is_its_split(large: Path) -> None:
    size = large.stat().st_size
    assert size > HELD_BYTES
    tracemalloc.start()
    try:
        rows = open_rows(large)
        split = split_rows(rows, splits=Splits(select=0.1, gate=0.2), seed=3)
        seen = sum(1 for part in (split.train, split.select, split.gate, split.report) for _ in part)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == len(rows) == MANY
    assert (len(split.select), len(split.gate)) == (round(0.1 * MANY), round(0.2 * MANY))
    # A row is a kilobyte; of each some 100 bytes are held while questions are ranked.
    assert peak < 0.2 * size


def test_a_row_is_found_by_its_id_and_an_unknown_one_is_not(large: Path) -> None:
    rows = RowFile(large)
    found = RowsById(rows)
    assert [found[f"r{number}"].id for number in (0, 7, MANY - 1)] == ["r0", "r7", f"r{MANY - 1}"]
    assert len(found) == MANY
    assert "r7" in found
    assert f"r{MANY}" not in found
    assert next(iter(found)) == "r0"


def test_ids_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_files, "_id_hash", lambda row_id: 5)
    found = RowsById([row(0), row(1)])
    assert (found["r0"].id, found["r1"].id) == ("r0", "r1")
    assert "r2" not in found


def test_rows_of_a_file_and_rows_that_are_held_split_alike(large: Path) -> None:
    rows = RowFile(large)
    splits = Splits(select=0.1, report=0.3)
    assert list(split_rows(rows, splits=splits, seed=1).report) == list(
        split_rows(list(rows), splits=splits, seed=1).report
    )
