"""Own held-out comparison: versions answer the same questions with the same seeds, and are compared in pairs."""

from collections.abc import Sequence
from pathlib import Path

from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.teachers import Difference, EvaluationRow
from rlt_core.schemas.trainer import EvaluationEvent
from rlt_core.statistics import mean, paired_difference
from rlt_train.durable import write_durable
from rlt_train.rollouts import Collector, Rollout

EVALUATION_ROUND = -1
"""Round number of every evaluation: the same question has the same seed for every version, never one of training."""

MEASURES = ("reward", "r_ss", "r_kl", "uplift", "length", "closed", "verbatim")


def evaluate_version(collector: Collector, rows: Sequence[DatasetRow], *, version: str) -> list[EvaluationRow]:
    """Let `version` explain each question once and the student judge it, in the order of `rows`."""
    collected = collector.collect(rows, version=version, round_number=EVALUATION_ROUND)
    return [_row(rollout, version=version) for rollout in collected.rollouts]


def compare(
    *, before: Sequence[EvaluationRow], after: Sequence[EvaluationRow], path: Path, student: str, format_id: str
) -> EvaluationEvent:
    """Write all rows to `path` and sum them up; without `before`, or below 2 questions, there is no difference."""
    lines = [row.model_dump_json() + "\n" for row in (*before, *after)]
    write_durable(path, "".join(lines).encode())
    paired = len(before) >= 2
    return EvaluationEvent(
        path=str(path),
        student=student,
        format=format_id,
        before=before[0].version if before else None,
        after=after[0].version,
        metrics={rows[0].version: summarise(rows) for rows in (before, after) if rows},
        difference=_difference(before, after, measure="reward") if paired else None,
        difference_r_ss=_difference(before, after, measure="r_ss") if paired else None,
    )


def summarise(rows: Sequence[EvaluationRow]) -> dict[str, float]:
    """Average each measure over rows of one version; shares count as 0 and 1."""
    values = {measure: [getattr(row, measure) for row in rows] for measure in MEASURES}
    return {
        measure: mean([float(value) for value in column])
        for measure, column in values.items()
        if all(value is not None for value in column)
    }


def states_solution(text: str, *, solution: str) -> bool:
    """Tell whether an explanation contains the solution word for word, however it is spaced."""
    return " ".join(solution.split()) in " ".join(text.split())


def _row(rollout: Rollout, *, version: str) -> EvaluationRow:
    start, end = rollout.tokens.explanation
    score = rollout.score
    return EvaluationRow(
        question_id=str(rollout.row.id),
        question=rollout.row.question,
        solution=rollout.row.solution,
        version=version,
        text=rollout.text,
        reward=score.reward,
        r_ss=score.r_ss,
        r_kl=score.r_kl,
        format=score.format,
        uplift=score.uplift,
        length=end - start,
        closed=rollout.well_formed,
        verbatim=states_solution(rollout.text, solution=rollout.row.solution),
    )


def _difference(before: Sequence[EvaluationRow], after: Sequence[EvaluationRow], *, measure: str) -> Difference:
    result = paired_difference(
        before=[getattr(row, measure) for row in before], after=[getattr(row, measure) for row in after]
    )
    return Difference(mean=result.mean, ci_low=result.ci_low, ci_high=result.ci_high, n=result.n)
