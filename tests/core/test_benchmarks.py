"""Rows of benchmarks in their own columns become questions with answers that their verdict can judge."""

from typing import Any

import pytest

from rlt_core.benchmarks import BENCHMARKS, find_benchmark
from rlt_core.errors import InvalidDatasetError, InvalidRequestError
from rlt_core.verdicts import Question, fault_of, judge

ROWS: dict[str, dict[str, Any]] = {
    "gsm8k": {
        "question": "Tom has 12 pens and buys 1200 more?",
        "answer": "12 + 1200 = <<12+1200=1212>>1212.\n#### 1,212",
    },
    "math-500": {"problem": "Add.", "solution": "So \\boxed{3}.", "answer": "3", "subject": "Algebra", "level": 1},
    "aime-2024": {"ID": "2024-I-1", "Problem": "Find n.", "Solution": "It is 204.", "Answer": 204},
    "gpqa-diamond": {
        "Question": "Which?",
        "Correct Answer": "water",
        "Incorrect Answer 1": "fire",
        "Incorrect Answer 2": "earth",
        "Incorrect Answer 3": "air",
        "Explanation": "It is wet.",
    },
    "countdown": {"nums": [44, 19, 35], "target": 98},
}


def made(name: str, **fields: Any) -> dict[str, Any]:
    return find_benchmark(name).apply(ROWS[name] | fields, max_characters=1000)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_solution_of_a_row_is_right_by_its_own_verdict(name: str) -> None:
    row = made(name)
    question = Question(answer=row["answer"], metadata=row.get("metadata", {}))
    rule = BENCHMARKS[name].verdict
    assert fault_of(question, rule=rule) is None
    assert judge(row["solution"], question=question, rule=rule, equal=lambda *, expected, found: False).right


def test_gsm8k_gives_the_number_behind_the_mark_and_the_steps_before_it() -> None:
    row = made("gsm8k")
    assert (row["answer"], row["reasoning_trace"]) == ("1212", "12 + 1200 = 1212.")


def test_problems_are_read_however_their_columns_are_capitalised() -> None:
    assert (made("math-500")["answer"], made("math-500")["metadata"]) == ("3", {"subject": "Algebra", "level": 1})
    assert (made("aime-2024")["answer"], made("aime-2024")["reasoning_trace"]) == ("204", "It is 204.")


def test_the_choices_of_gpqa_stand_in_an_order_that_does_not_give_the_answer_away() -> None:
    row = made("gpqa-diamond")
    assert f"({row['answer']}) water" in row["question"]
    assert row == made("gpqa-diamond")
    letters = {made("gpqa-diamond", Question=f"Which {number}?")["answer"] for number in range(40)}
    assert letters == set("ABCD")


def test_a_countdown_gets_a_solution_that_wins() -> None:
    row = made("countdown")
    assert row["metadata"] == {"nums": [44, 19, 35], "target": 98}
    assert "44, 19, 35" in row["question"]


@pytest.mark.parametrize(
    ("name", "fields", "why"),
    [
        ("gsm8k", {"answer": "42"}, "no line `####"),
        ("gsm8k", {"question": None}, "'question' holds no text"),
        ("math-500", {"answer": ""}, "'answer' holds no text"),
        ("aime-2024", {"Problem": 3}, "'problem' holds no text"),
        ("gpqa-diamond", {"Incorrect Answer 2": "water"}, "the same"),
        ("countdown", {"nums": [1, 1], "target": 50}, "no way from"),
        ("countdown", {"nums": ["1"]}, "whole numbers"),
        ("countdown", {"nums": [1, 2, 3, 4, 5, 6]}, "at most 5"),
        ("gsm8k", {"question": "a" * 2000}, "2000 characters, 1000 are allowed"),
    ],
)
def test_a_row_of_something_else_says_what_is_wrong(name: str, fields: dict[str, Any], why: str) -> None:
    with pytest.raises(InvalidDatasetError, match=why):
        made(name, **fields)


def test_an_unknown_benchmark_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequestError, match=r"did you mean gsm8k\?.*math-500") as caught:
        find_benchmark("gsm8")
    assert caught.value.param == "/benchmark"
