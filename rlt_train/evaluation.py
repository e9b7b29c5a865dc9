"""Own held-out comparison: versions answer the same questions with the same seeds, and are compared in pairs."""

from collections.abc import Sequence
from pathlib import Path

from rlt_core.comparison import difference, questions, states_solution, summarise
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.teachers import EvaluationRow
from rlt_core.schemas.trainer import EvaluationEvent
from rlt_train.durable import write_durable
from rlt_train.rollouts import Collector, Rollout

EVALUATION_ROUND = -1
"""Round number of every evaluation: the same question has the same seed for every version, never one of training."""


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
    paired = questions(before) >= 2
    return EvaluationEvent(
        path=str(path),
        student=student,
        format=format_id,
        before=before[0].version if before else None,
        after=after[0].version,
        metrics={rows[0].version: summarise(rows) for rows in (before, after) if rows},
        difference=difference(before, after, measure="reward") if paired else None,
        difference_r_ss=difference(before, after, measure="r_ss") if paired else None,
    )


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
        engine=rollout.scored_by,
    )
