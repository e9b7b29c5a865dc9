"""Own what is measured of a student: its answers, judged, and what its own thoughts make of the solution."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.distillation.questions import answer_of
from benchmarks.experiment.tasks import Row
from rlt_client import Client
from rlt_core.schemas.measured import AnswerRow
from rlt_core.schemas.score import ExplanationInput, RewardConfig, ScoreRequest
from rlt_core.statistics import mean

CHUNK = 32
PAGE = 500
PLAIN = RewardConfig(temperature=1.0)
"""Log-probs of the student as it is: its logits are divided by nothing."""


def token_lengths(client: Client, rows: Sequence[Row], *, thoughts: Sequence[str], student: str) -> list[int]:
    """Count the tokens of each row with its thought, as a student reads the whole."""
    found: list[int] = []
    for start in range(0, len(rows), CHUNK):
        some = zip(rows[start : start + CHUNK], thoughts[start : start + CHUNK], strict=True)
        asked = [
            ScoreRequest(
                question=row.question,
                solution=row.solution,
                explanations=[ExplanationInput(text=thought)],
                student=student,
                include=["sequence"],
            )
            for row, thought in some
        ]
        for answer in client.score.batch(asked):
            sequence = answer.scores[0].sequence
            if sequence is None:
                raise RuntimeError("a score came without the sequence that was asked for")
            found.append(len(sequence.token_ids))
    return found


def answers_of(client: Client, evaluation: str) -> dict[str, list[AnswerRow]]:
    """Read an evaluation's answers, by question, in the order of its samples."""
    found: dict[str, list[AnswerRow]] = {}
    offset, more = 0, True
    while more:
        page = client.evaluations.answers(evaluation, offset=offset, limit=PAGE)
        for answer in page.data:
            found.setdefault(answer.question_id, []).append(answer)
        offset, more = offset + len(page.data), page.has_more and bool(page.data)
    return found


def measured(
    client: Client, rows: Sequence[Row], *, evaluation: str, version: str, arm: str, seed: int
) -> Iterator[dict[str, Any]]:
    """Give a row a question: the verdicts, and the solution's log-prob after each thought that the student had.

    Raises ValueError where the evaluation has not answered one of the questions.
    """
    answers = answers_of(client, evaluation)
    missing = [row.id for row in rows if row.id not in answers]
    if missing:
        raise ValueError(f"{evaluation} has no answers to {len(missing)} questions, the first is {missing[0]}")
    for start in range(0, len(rows), CHUNK):
        some = rows[start : start + CHUNK]
        asked = [
            ScoreRequest(
                question=row.question,
                solution=row.solution,
                explanations=[ExplanationInput(text=answer.thought) for answer in answers[row.id]],
                student=version,
                baseline=True,
                reward=PLAIN,
            )
            for row in some
        ]
        for row, score in zip(some, client.score.batch(asked), strict=True):
            if score.baseline is None:
                raise RuntimeError(f"{row.id} came without the baseline that was asked for")
            each = [one.solution.mean for one in score.scores]
            named = {"arm": arm, "seed": seed, "version": version, "without_thought": score.baseline.mean}
            yield named | _of_answers(row, answers[row.id]) | {"solution_logprob": mean(each), "each_logprob": each}


def _of_answers(row: Row, answers: Sequence[AnswerRow]) -> Mapping[str, Any]:
    judged = [row.judged(answer.thought) for answer in answers]
    return {
        "question_id": row.id,
        "question": row.question,
        "solution": row.solution,
        "answer": answer_of(row),
        "right": [answer.right for answer in answers],
        "accuracy": mean([float(answer.right) for answer in answers]),
        "closed": mean([float(answer.solution is not None) for answer in answers]),
        "tokens": mean([float(answer.tokens) for answer in answers]),
        "steps_right": mean([float(bool(one["steps_right"])) for one in judged]),
        "ends_at_answer": mean([float(bool(one["ends_at_answer"])) for one in judged]),
        "thought": answers[0].thought,
        "said": answers[0].solution,
    }
