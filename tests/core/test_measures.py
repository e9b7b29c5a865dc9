"""Figures of evaluations: a value a question, its mean and interval, and pairs of versions on the same questions."""

from typing import Any

import pytest

from rlt_core.measures import compare, fault_of_comparison, figures_of, pass_at_of, values_of
from rlt_core.schemas.base import now_utc
from rlt_core.schemas.measured import AnswerRow, ModelEvaluation
from rlt_core.schemas.teachers import EvaluationRow


def answers(rights: list[list[bool]], *, version: str = "pupil@1") -> list[AnswerRow]:
    """Give rows: question by question, right or wrong sample by sample."""
    return [
        AnswerRow(
            question_id=f"q{number}",
            question="?",
            answer="1",
            version=version,
            sample=sample,
            thought="t",
            solution="1" if right else None,
            finish_reason="stop",
            tokens=10 * (sample + 1),
            right=right,
            found="1" if right else None,
            place="stated" if right else None,
            why="" if right else "the solution was never closed",
        )
        for number, samples in enumerate(rights)
        for sample, right in enumerate(samples)
    ]


def evaluation(name: str, **fields: Any) -> ModelEvaluation:
    known: dict[str, Any] = {
        "id": name,
        "created_at": now_utc(),
        "job": "job_1",
        "role": "student",
        "model": "pupil@1",
        "dataset": "ds_1",
        "dataset_sha256": "ab",
        "questions": 2,
        "samples": 2,
        "temperature": 0.7,
        "top_p": 1.0,
        "max_tokens": 10,
        "seed": 0,
        "verdict": "exact",
        "format": "stratos@1",
        "engine": "fake",
        "figures": {},
    }
    return ModelEvaluation.model_validate(known | fields)


def test_figures_are_means_over_questions_not_over_answers() -> None:
    # 2 of 2, 1 of 2, 0 of 2: pass@1 1, 1/2, 0; pass@2 1, 1, 0.
    found = figures_of(values_of(answers([[True, True], [True, False], [False, False]]), pass_at=[1, 2]))
    assert {name: figure.mean for name, figure in found.items()} == {
        "pass@1": 0.5,
        "pass@2": pytest.approx(2 / 3),
        "mean@2": 0.5,
        "closed": 0.5,
        "answered": 0.5,
        "tokens": 15.0,
    }
    assert found["pass@1"].n == 3
    assert found["pass@1"].ci_low is not None
    assert 0.0 <= found["pass@1"].ci_low <= 0.5


def test_a_k_beyond_the_samples_and_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="no choice of 3 among 2"):
        values_of(answers([[True, True]]), pass_at=[3])
    with pytest.raises(ValueError, match="no rows"):
        values_of([])


def test_a_teachers_rows_come_to_reward_and_parts() -> None:
    rows = [
        EvaluationRow(
            question_id=f"q{number}",
            question="?",
            solution="1",
            version="algebra@1",
            text="t",
            reward=reward,
            r_ss=-1.0,
            r_kl=0.5,
            format=0.0,
            uplift=None if number else 1.0,
            length=3,
            closed=True,
            verbatim=False,
        )
        for number, rewards in enumerate([[-1.0, -2.0], [-3.0, -3.0]])
        for reward in rewards
    ]
    found = figures_of(values_of(rows))
    assert (found["reward"].mean, found["reward"].n, found["closed"].mean) == (-2.25, 2, 1.0)
    assert "uplift" not in found  # one question has none


def test_versions_are_compared_on_the_questions_that_both_answered() -> None:
    before = values_of(answers([[True, False], [False, False], [True, True]]))
    after = values_of(answers([[True, True], [False, True]]))
    found = compare([evaluation("eval_a", seed=1), evaluation("eval_b")], [before, after])
    [pair] = found.pairs
    assert (pair.before, pair.after, found.questions, found.differing) == ("eval_a", "eval_b", 2, ["seed"])
    # Both questions gain half a right answer of two: no spread at all, however much the questions differ.
    gain = pair.differences["pass@1"]
    assert (gain.mean, gain.ci_low, gain.ci_high, gain.n) == (0.5, 0.5, 0.5, 2)
    assert pair.differences.keys() == {"pass@1"}


def test_three_make_three_pairs_and_one_shared_question_makes_none() -> None:
    values = [values_of(answers([[True], [right]])) for right in (True, False, True)]
    found = compare([evaluation(f"eval_{name}") for name in "abc"], values)
    assert [(pair.before, pair.after) for pair in found.pairs] == [
        ("eval_a", "eval_b"),
        ("eval_a", "eval_c"),
        ("eval_b", "eval_c"),
    ]
    with pytest.raises(ValueError, match="1 questions were answered by all"):
        compare([evaluation("eval_a"), evaluation("eval_b")], [values_of(answers([[True]])), values[0]])


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({}, None),
        ({"seed": 5, "samples": 1}, None),
        ({"role": "teacher"}, "different roles"),
        ({"dataset_sha256": "cd", "dataset": "ds_2"}, "different datasets, ds_1 and ds_2"),
        ({"dataset": "ds_2"}, None),
        ({"verdict": "math_verify"}, "different verdicts"),
    ],
)
def test_what_measures_different_things_is_not_compared(fields: dict[str, Any], fault: str | None) -> None:
    found = fault_of_comparison([evaluation("eval_a"), evaluation("eval_b", **fields)])
    assert found is None if fault is None else fault in (found or "")


def test_the_k_that_were_told_can_be_read_back() -> None:
    found = figures_of(values_of(answers([[True, False]] * 2), pass_at=[1, 2]))
    assert pass_at_of(evaluation("eval_a", figures=found)) == [1, 2]
    assert pass_at_of(evaluation("eval_a")) == [1]
