import json
from itertools import pairwise
from pathlib import Path

import pytest

from benchmarks.experiment.tasks import Row, Task, arithmetic, equations_hold, from_file, sums


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("13 - 9 = 4. 4 + 12 = 16.", True),
        ("13 - 9 = 16.", False),
        ("13 - 9 = 4. 4 + 12 = 15.", False),
        ("So the answer is 16.", False),
        ("2 + 3 * 4 = 14", True),
        ("2 + 3 * 4 = 20", False),
        ("12/60 = $0.2 a minute", True),
        ("48/2 = 24 clips, 48+24 = 72", True),
        ("5 x 3 = 15", True),
        ("5 / 0 = 1", False),
        ("-3 + 5 = 2", True),
    ],
)
def test_equations_are_worked_out(text: str, holds: bool) -> None:
    assert equations_hold(text) is holds


@pytest.mark.parametrize("task", [sums(2), sums(3), arithmetic(3), arithmetic(4)], ids=lambda task: task.name)
def test_a_task_s_own_traces_are_right_and_its_seeds_differ(task: Task) -> None:
    rows = task.rows(40, 1)
    assert [row.question for row in rows] == [row.question for row in task.rows(40, 1)]
    assert len({row.question for row in rows}) == 40
    assert all(_right(row, row.trace) for row in rows)
    assert not any(_right(row, other.trace) for row, other in pairwise(rows) if row.trace != other.trace)
    others = {row.question for row in task.rows(40, 2)}
    assert {row.question for row in rows} != others


def _right(row: Row, text: str) -> bool:
    assert row.steps_right is not None
    assert row.chain_right is not None
    return row.steps_right(text) and row.chain_right(text)


def test_a_file_s_rows_are_drawn_by_the_seed(tmp_path: Path) -> None:
    lines = [
        {"id": f"g{n}", "question": f"{n}?", "solution": f"{n} + 1 = {n + 1}", "answer": str(n + 1)} for n in range(30)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    task = from_file(tmp_path / "rows.jsonl", name="rows", max_tokens=64, longest_trace=100)
    first, again, other = task.rows(10, 1), task.rows(10, 1), task.rows(10, 2)
    assert [row.id for row in first] == [row.id for row in again] != [row.id for row in other]
    assert first[0].uploaded()["solution"].startswith("The answer is ")
    with pytest.raises(ValueError, match="30 rows"):
        task.rows(31, 1)
