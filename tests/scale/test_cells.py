"""Cells are kept one by one, so that a run is gone on with; only cells in full make figures."""

from pathlib import Path

import pytest

from benchmarks.scale import __main__ as command
from benchmarks.scale import cells
from benchmarks.scale.cells import Cell, percentile
from benchmarks.scale.rows import ROWS, Row


def cell(name: str, *, share: float = 1.0, **figures: object) -> Cell:
    return Cell(
        row="queue", name=name, share=share, seconds=1.0, commit="c", date="2026-01-01", machine="m", figures=figures
    )


def test_cells_are_read_as_they_were_added_the_newest_of_each_name(tmp_path: Path) -> None:
    for one in (cell("sqlite", n=1), cell("postgres", n=2), cell("sqlite", n=3)):
        cells.add(one, tmp_path)
    found = cells.read(tmp_path, "queue")
    assert {name: one.figures["n"] for name, one in found.items()} == {"sqlite": 3, "postgres": 2}
    assert cells.read(tmp_path, "sse") == {}


def test_a_cell_in_part_does_not_take_the_place_of_one_in_full() -> None:
    found = cells.newest([cell("sqlite", n=1), cell("sqlite", share=0.1, n=2)])
    assert found["sqlite"].figures["n"] == 1


def test_what_was_measured_in_part_is_still_missing_in_full() -> None:
    there = {"sqlite": cell("sqlite", share=0.1)}
    assert cells.missing(["sqlite", "postgres"], there, share=1.0) == ["sqlite", "postgres"]
    assert cells.missing(["sqlite", "postgres"], there, share=0.05) == ["postgres"]


def test_a_run_measures_what_is_missing_and_keeps_each_cell_before_the_next(tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def measure(pending, *, share, folder):
        asked.append(list(pending))
        for name in pending:
            assert name not in cells.read(tmp_path, "queue")
            yield name, {"share": share}
            if name == "a" and len(asked) == 1:
                raise RuntimeError("the machine went away")

    row = Row(name="queue", what="", cells=("a", "b", "c"), measure=measure)
    with pytest.raises(RuntimeError):
        command.run(row, share=1.0, out=tmp_path, again=False)
    command.run(row, share=1.0, out=tmp_path, again=False)
    command.run(row, share=1.0, out=tmp_path, again=False)
    assert asked == [["a", "b", "c"], ["b", "c"]]
    assert set(cells.read(tmp_path, "queue")) == {"a", "b", "c"}


def test_a_percentile_is_the_least_value_that_the_share_does_not_exceed() -> None:
    hundred = [float(n) for n in range(1, 101)]
    assert [percentile(hundred, share) for share in (0.07, 0.5, 0.99, 1.0)] == [7.0, 50.0, 99.0, 100.0]
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([5.0], 0.01) == 5.0
    with pytest.raises(ValueError, match="nothing was measured"):
        percentile([], 0.5)


def test_every_row_names_its_cells_once() -> None:
    for row in ROWS:
        assert len(set(row.cells)) == len(row.cells) > 0
