import json
from itertools import combinations
from pathlib import Path

import pytest

from benchmarks.experiment.arms import Plan
from benchmarks.experiment.tasks import Row, Task, arithmetic, divided, from_file, sums

RIGHT = {"steps_right": True, "ends_at_answer": True, "chain_right": True}


@pytest.mark.parametrize("task", [sums(2), sums(3), arithmetic(3), arithmetic(4)], ids=lambda task: task.name)
def test_a_task_s_own_traces_are_right_and_its_seeds_differ(task: Task) -> None:
    rows = task.rows(40, 1)
    assert [row.question for row in rows] == [row.question for row in task.rows(40, 1)]
    assert len({row.question for row in rows}) == 40
    assert all(row.judged(row.trace) == RIGHT for row in rows)
    assert rows[0].judged("The answer is near.") == dict.fromkeys(RIGHT, False)
    others = {row.question for row in task.rows(40, 2)}
    assert {row.question for row in rows} != others


def test_right_steps_of_another_question_are_no_right_chain() -> None:
    row = Row(id="a", question="?", solution="The answer is 4.", trace="1 + 3 = 4.", one_way=True)
    assert row.judged("2 + 2 = 4.") == {"steps_right": True, "ends_at_answer": True, "chain_right": False}


def test_no_question_is_in_two_parts() -> None:
    sizes = Plan(report_questions=50).sizes()
    parts = divided(arithmetic(3), sizes=sizes, seed=0)
    assert {name: len(rows) for name, rows in parts.items()} == sizes
    questions = {name: {row.question for row in rows} for name, rows in parts.items()}
    assert not any(questions[one] & questions[other] for one, other in combinations(questions, 2))


def written(folder: Path, *, count: int) -> Task:
    """Make a task of a file with `count` rows, the first of which is there twice."""
    lines = [
        {"id": f"g{n}", "question": f"{n}?", "solution": f"{n} + 1 = {n + 1}", "answer": str(n + 1)}
        for n in range(count)
    ]
    text = "".join(json.dumps(line) + "\n" for line in [*lines, lines[0]])
    (folder / "rows.jsonl").write_text(text, encoding="utf-8")
    return from_file(folder / "rows.jsonl", name="rows", max_tokens=64, longest_trace=100)


def test_a_file_s_rows_are_drawn_by_the_seed_and_each_question_once(tmp_path: Path) -> None:
    task = written(tmp_path, count=30)
    first, again, other = task.rows(10, 1), task.rows(10, 1), task.rows(10, 2)
    assert [row.id for row in first] == [row.id for row in again] != [row.id for row in other]
    assert first[0].uploaded()["solution"].startswith("The answer is ")
    assert first[0].judged(first[0].trace) == {"steps_right": True, "ends_at_answer": True, "chain_right": None}
    assert len({row.question for row in task.rows(30, 0)}) == 30
    with pytest.raises(ValueError, match="30 rows"):
        task.rows(31, 1)
