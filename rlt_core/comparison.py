"""Own how rows of two versions become an evaluation: paired by question, averaged, with intervals. Pure."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Literal

from rlt_core.schemas.base import new_id
from rlt_core.schemas.teachers import Difference, Evaluation, EvaluationRow
from rlt_core.statistics import mean, paired_difference

MEASURES = ("reward", "r_ss", "r_kl", "uplift", "length", "closed", "verbatim")

Question = tuple[str, str]
"""Question and solution: the unit that is drawn; several answers to it count once, by their mean."""


def evaluation_of(
    rows: Sequence[EvaluationRow],
    *,
    before: str,
    after: str,
    student: str,
    format: str,
    created_at: datetime,
    job: str | None = None,
    source: Literal["held_out", "shadow"] = "held_out",
) -> Evaluation:
    """Compute every figure of an evaluation from its rows; raises ValueError where they are no comparison."""
    rows_before, rows_after = paired(rows, before=before, after=after)
    return Evaluation(
        id=new_id("eval"),
        created_at=created_at,
        job=job,
        student=student,
        format=format,
        before=before,
        after=after,
        metrics={before: summarise(rows_before), after: summarise(rows_after)},
        difference=difference(rows_before, rows_after, measure="reward"),
        difference_r_ss=difference(rows_before, rows_after, measure="r_ss"),
        source=source,
        engine=rows_before[0].engine,
    )


def paired(
    rows: Sequence[EvaluationRow], *, before: str, after: str
) -> tuple[list[EvaluationRow], list[EvaluationRow]]:
    """Divide rows by version.

    Raises ValueError unless both answered each of at least 2 questions equally often, scored by one engine.
    """
    if before == after:
        raise ValueError(f"{before} cannot be compared with itself")
    if strange := {row.version for row in rows} - {before, after}:
        raise ValueError(f"rows of {', '.join(sorted(strange))} are no part of {before} against {after}")
    if len(engines := {row.engine for row in rows}) > 1:
        raise ValueError(f"rows were scored by different engines: {', '.join(sorted(map(str, engines)))}")
    rows_before = [row for row in rows if row.version == before]
    rows_after = [row for row in rows if row.version == after]
    if sorted(map(_question, rows_before)) != sorted(map(_question, rows_after)):
        raise ValueError(
            f"{before} and {after} answered different questions ({len(rows_before)} and {len(rows_after)} rows)"
        )
    if questions(rows_before) < 2:
        raise ValueError(f"{questions(rows_before)} questions were answered by {before} and {after}, 2 are the least")
    return rows_before, rows_after


def questions(rows: Sequence[EvaluationRow]) -> int:
    """Count the different questions."""
    return len({_question(row) for row in rows})


def summarise(rows: Sequence[EvaluationRow]) -> dict[str, float]:
    """Average each measure over the questions of one version; shares count as 0 and 1."""
    return {
        measure: mean(list(_by_question(rows, measure=measure).values()))
        for measure in MEASURES
        if all(getattr(row, measure) is not None for row in rows)
    }


def difference(before: Sequence[EvaluationRow], after: Sequence[EvaluationRow], *, measure: str) -> Difference:
    """Compare two versions in one measure, question by question; raises ValueError below 2 questions."""
    was, became = _by_question(before, measure=measure), _by_question(after, measure=measure)
    found = paired_difference(before=list(was.values()), after=[became[question] for question in was])
    return Difference(**asdict(found))


def states_solution(text: str, *, solution: str) -> bool:
    """Tell whether an explanation contains the solution word for word, however it is spaced."""
    return " ".join(solution.split()) in " ".join(text.split())


def _question(row: EvaluationRow) -> Question:
    return row.question, row.solution


def _by_question(rows: Sequence[EvaluationRow], *, measure: str) -> dict[Question, float]:
    """Average a measure over the answers to each question, in the order in which questions first appear."""
    values: dict[Question, list[float]] = {}
    for row in rows:
        values.setdefault(_question(row), []).append(float(getattr(row, measure)))
    return {question: mean(found) for question, found in values.items()}
