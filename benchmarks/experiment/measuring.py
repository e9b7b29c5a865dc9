"""Own what is measured on the report questions, of a version or of explanations that nobody wrote: a row a question."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any

from benchmarks.experiment.arms import rows_name
from benchmarks.experiment.session import Session
from benchmarks.experiment.tasks import Row
from rlt_client import Client
from rlt_core.comparison import states_solution
from rlt_core.schemas.explain import ExplainRequest
from rlt_core.schemas.score import ExplanationInput, RewardConfig, Score, ScoreRequest

CHUNK = 32
"""Questions in one call: enough for the engine to work on many at once."""
CONTROLS: dict[str, Callable[[Row], str]] = {
    "worked solution": lambda row: row.trace,
    "bare solution": lambda row: row.solution,
}
"""Explanations that no teacher wrote; that of no explanation at all is each row's baseline."""


class Measurement:
    """Asks and scores the report questions: one sample a question, seeded by its place, the same for every version."""

    def __init__(
        self,
        client: Client,
        *,
        rows: Sequence[Row],
        student: str,
        reward: RewardConfig,
        temperature: float,
        max_tokens: int,
    ) -> None:
        self._client = client
        self._rows = rows
        self._student = student
        self._reward = reward
        self._temperature = temperature
        self._max_tokens = max_tokens

    def write(
        self,
        session: Session,
        *,
        versions: Mapping[str, str],
        controls: Iterable[str] = (),
        seed: int = 0,
        prefix: str = "",
    ) -> None:
        """Write what is not there yet: a file a version, named by its arm, and a file a control."""
        for arm, version in versions.items():
            name = f"{prefix}{arm}" if arm in ("base", "warm-up") else f"{prefix}{rows_name(arm, seed=seed)}"
            session.rows(name, partial(self.of_version, version, arm=arm, seed=seed))
        for control in controls:
            session.rows(f"{prefix}{control.replace(' ', '-')}", partial(self.of_control, control))

    def student_drift(self, known: Sequence[Mapping[str, Any]]) -> float:
        """Score the first worked solutions again: the largest difference, nats a token, from rows that are known."""
        again = list(islice(self.of_control("worked solution"), CHUNK))
        return max(abs(new["solution_mean"] - old["solution_mean"]) for new, old in zip(again, known, strict=False))

    def of_version(self, version: str, *, arm: str, seed: int) -> Iterator[dict[str, Any]]:
        """Give what a version explains, judged."""
        for start in range(0, len(self._rows), CHUNK):
            rows = self._rows[start : start + CHUNK]
            answers = self._client.explain.batch(
                [
                    ExplainRequest(
                        question=row.question,
                        solution=row.solution,
                        teacher=version,
                        temperature=self._temperature,
                        max_tokens=self._max_tokens,
                        seed=start + place,
                        include=["tokens"],
                    )
                    for place, row in enumerate(rows)
                ]
            )
            entries = [
                ExplanationInput(text=one.text, tokens=one.tokens, well_formed=one.well_formed)
                for one in (answer.explanations[0] for answer in answers)
            ]
            yield from self._judged(rows, entries, arm=arm, seed=seed, version=version)

    def of_control(self, name: str) -> Iterator[dict[str, Any]]:
        """Give what the student makes of an explanation that nobody wrote: r_SS alone, for no teacher sampled it."""
        for start in range(0, len(self._rows), CHUNK):
            rows = self._rows[start : start + CHUNK]
            entries = [ExplanationInput(text=CONTROLS[name](row)) for row in rows]
            yield from self._judged(rows, entries, arm=name, seed=0, version=None)

    def _judged(
        self, rows: Sequence[Row], entries: Sequence[ExplanationInput], *, arm: str, seed: int, version: str | None
    ) -> Iterator[dict[str, Any]]:
        answers = self._client.score.batch(
            [
                ScoreRequest(
                    question=row.question,
                    solution=row.solution,
                    explanations=[entry],
                    student=self._student,
                    baseline=True,
                    reward=self._reward,
                )
                for row, entry in zip(rows, entries, strict=True)
            ]
        )
        for row, entry, answer in zip(rows, entries, answers, strict=True):
            if answer.baseline is None:
                raise RuntimeError(f"{row.id} came without the baseline that was asked for")
            yield {
                "arm": arm,
                "seed": seed,
                "version": version,
                "question_id": row.id,
                "question": row.question,
                "solution": row.solution,
                **_of_score(answer.scores[0]),
                **_of_text(entry, row),
                "baseline_mean": answer.baseline.mean,
                "baseline_min": answer.baseline.min,
            }


def _of_score(score: Score) -> dict[str, Any]:
    kl = score.kl
    return {
        "reward": score.reward if kl is not None else None,
        "r_ss": score.r_ss,
        "r_kl": score.r_kl if kl is not None else None,
        "uplift": score.uplift,
        "solution_mean": score.solution.mean,
        "solution_min": score.solution.min,
        "kl_mean": kl.mean if kl is not None else None,
        "kl_max": kl.max if kl is not None else None,
        "closed": score.well_formed,
    }


def _of_text(entry: ExplanationInput, row: Row) -> dict[str, Any]:
    text, tokens = entry.text, entry.tokens
    return {
        "length": tokens.explanation[1] - tokens.explanation[0] if tokens is not None else None,
        "verbatim": states_solution(text, solution=row.solution),
        **row.judged(text),
        "text": text,
    }
