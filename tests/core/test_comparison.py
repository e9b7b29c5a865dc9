from typing import Any

import pytest

from rlt_core.comparison import difference, evaluation_of, paired, summarise
from rlt_core.schemas.base import now_utc
from rlt_core.schemas.teachers import EvaluationRow


def row(version: str, question: str, reward: float, **more: Any) -> EvaluationRow:
    facts: dict[str, Any] = {"r_ss": reward, "r_kl": 0.0, "format": 0.0, "length": 4, "closed": True, "verbatim": False}
    return EvaluationRow(
        question_id=question, question=question, solution="s", version=version, text="t", reward=reward, **facts | more
    )


def evaluate(rows: list[EvaluationRow]) -> Any:
    return evaluation_of(rows, before="a@1", after="a@2", student="s@1", format="stratos@1", created_at=now_utc())


def test_figures_come_from_the_rows() -> None:
    """Differences 1 and 3 on two questions: the mean is 2, resampled means lie between 1 and 3."""
    rows = [row("a@1", "p", -1.0), row("a@1", "q", -2.0), row("a@2", "p", 0.0), row("a@2", "q", 1.0, closed=False)]
    found = evaluate(rows)
    figures = found.difference
    assert (figures.mean, figures.ci_low, figures.ci_high, figures.n) == (2.0, 1.0, 3.0, 2)
    assert found.metrics["a@1"]["reward"] == -1.5
    assert (found.metrics["a@1"]["closed"], found.metrics["a@2"]["closed"]) == (1.0, 0.5)
    assert "uplift" not in found.metrics["a@1"]


def test_an_evaluation_names_the_engine_that_scored_it() -> None:
    rows = [row(version, name, 0.0, engine="vllm") for version in ("a@1", "a@2") for name in "pq"]
    assert evaluate(rows).engine == "vllm"


def test_questions_are_paired_by_what_they_ask_in_whatever_order_they_stand() -> None:
    before = [row("a@1", "p", -1.0), row("a@1", "q", -9.0)]
    after = [row("a@2", "q", -8.0), row("a@2", "p", 0.0)]
    found = difference(before, after, measure="reward")
    assert (found.mean, found.ci_low, found.ci_high) == (1.0, 1.0, 1.0)


def test_a_question_that_was_asked_often_counts_once() -> None:
    """Question p: -1 and -3, mean -2; q: -4. The mean over questions is -3, over rows it would be -8/3."""
    rows = [row("a@1", "p", -1.0), row("a@1", "p", -3.0), row("a@1", "q", -4.0)]
    assert summarise(rows)["reward"] == -3.0
    found = difference(rows, [row("a@2", "p", 0.0), row("a@2", "p", 0.0), row("a@2", "q", 0.0)], measure="reward")
    assert (found.mean, found.n) == (3.0, 2)


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ([], "0 questions"),
        ([row("a@1", "p", 0.0), row("a@2", "p", 0.0)], "1 questions"),
        ([row("a@1", "p", 0.0), row("a@1", "p", 0.0), row("a@2", "p", 0.0), row("a@2", "p", 0.0)], "1 questions"),
        ([row("a@1", "p", 0.0), row("a@1", "q", 0.0), row("a@2", "p", 0.0), row("a@2", "r", 0.0)], "different"),
        ([row("a@1", "p", 0.0), row("a@1", "q", 0.0), row("a@2", "p", 0.0)], "different"),
        ([row("a@1", "p", 0.0), row("a@1", "q", 0.0), row("a@2", "p", 0.0), row("a@3", "q", 0.0)], "a@3"),
        (
            [row("a@1", name, 0.0, engine="vllm") for name in "pq"]
            + [row("a@2", name, 0.0, engine="fake") for name in "pq"],
            "different engines: fake, vllm",
        ),
    ],
)
def test_rows_that_are_no_comparison_are_refused(rows: list[EvaluationRow], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        evaluate(rows)


def test_a_version_is_not_compared_with_itself() -> None:
    with pytest.raises(ValueError, match="itself"):
        paired([], before="a@1", after="a@1")
