"""Own one step's rollouts: explanations by exactly the policy asked for, their rewards, and the checks of both."""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from rlt_core.errors import RltError
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse, Explanation
from rlt_core.schemas.jobs import StudentReduction
from rlt_core.schemas.score import (
    CompletionTokens,
    ExplanationInput,
    RewardConfig,
    Score,
    ScoreRequest,
    ScoreResponse,
)
from rlt_core.tokens import SequenceCodec
from rlt_train.collected import LEAST_COMPARED, Collected
from rlt_train.dropped import DroppedRollouts, one_by_one
from rlt_train.errors import RolloutMismatchError
from rlt_train.expecting import expect, expect_tokens
from rlt_train.lifeline import StopFlag
from rlt_train.services import Services
from rlt_train.several_students import combined
from rlt_train.side_by_side import equal_parts, side_by_side

FULL_REWARD = ["solution", "kl", "format"]
"""Terms that every reward must hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingPlan:
    """How explanations are sampled and judged; `temperature` is above 0, log-probs are at it."""

    samples: int
    temperature: float
    max_tokens: int
    seed: int
    student_versions: tuple[str, ...]
    """At least one; of several, `student_reduction` makes one score."""
    reward: RewardConfig
    format_id: str
    student_reduction: StudentReduction = "mean"
    max_dropped: float = 0.0
    """Share of the rollouts that may be left out; with 0, what fails for good is raised as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One explanation as generated, with what the student made of it."""

    row: DatasetRow
    text: str
    well_formed: bool
    tokens: CompletionTokens
    score: Score
    scored_by: str
    """The engine's name: "fake" is a stand-in."""

    @property
    def reward(self) -> float:
        """What it is worth."""
        return self.score.reward


_Explained = tuple[Explanation, CompletionTokens]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """One explanation's score by one student."""

    score: Score
    engine: str


class Collector:
    """Asks for explanations and rewards, and accepts nothing but what was asked for.

    Each row's samples are one request, so that the engine reads their prompt once; an explanation is scored while
    others are still being written.
    """

    def __init__(
        self,
        services: Services,
        *,
        codec: SequenceCodec,
        plan: SamplingPlan,
        stop: StopFlag,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`report` hears, a sentence each, of what is left out."""
        self._services = services
        self._codec = codec
        self._plan = plan
        self._stop = stop
        self._report = report
        self._baselines: dict[tuple[str, str], float] = {}

    def collect(self, rows: Sequence[DatasetRow], *, version: str, round_number: int) -> Collected[Rollout]:
        """Sample and score explanations of each row by `version`; `round_number` varies the seed.

        What fails for good is left out: a row's rollouts all, where fewer than two are left to be compared. Raises
        RolloutsDroppedError where that is more than the plan allows, RolloutMismatchError for an answer that is not
        what was asked for, and the services' own errors where they are away or refuse the caller.
        """
        began_s, dropped = time.monotonic(), DroppedRollouts(allowed=self._allowed(rows), report=self._report)
        explained_s: list[float] = []

        def work(part: Sequence[DatasetRow]) -> list[tuple[Rollout, ...]]:
            groups = self._explained(part, version=version, round_number=round_number, dropped=dropped)
            explained_s.append(time.monotonic())
            return [self._judged(row, group, dropped=dropped) for row, group in zip(part, groups, strict=True)]

        at_once = self._services.calls_at_once
        works = [partial(work, part) for part in equal_parts(rows, at_most=at_once)]
        found = side_by_side(works, at_once=at_once, stop=self._stop)
        rollouts = tuple(rollout for groups in found for group in groups for rollout in group)
        if rows and not rollouts:
            raise dropped.too_many("nothing is left to train on")
        last_s = max(explained_s, default=began_s)
        return Collected(
            rollouts=rollouts,
            asked=tuple(str(row.id) for row in rows),
            dropped=len(rows) * self._plan.samples - len(rollouts),
            explain_s=last_s - began_s,
            score_s=time.monotonic() - last_s,
        )

    def _allowed(self, rows: Sequence[DatasetRow]) -> int:
        return math.floor(self._plan.max_dropped * len(rows) * self._plan.samples)

    def _explained(
        self, rows: Sequence[DatasetRow], *, version: str, round_number: int, dropped: DroppedRollouts
    ) -> list[list[_Explained]]:
        """Sample explanations of each row; none for a row whose generation failed for good."""
        requests = [self._explain_request(row, version=version, round_number=round_number) for row in rows]

        def ask(asked: Sequence[ExplainRequest]) -> list[list[_Explained]]:
            answers = self._services.explain(asked)
            self._check_count(answers, wanted=len(asked), what="explanation lists")
            return [self._checked(answer, request) for answer, request in zip(answers, asked, strict=True)]

        found = one_by_one(requests, ask=ask)
        return [
            dropped.without(group, row=row, size=self._plan.samples) for row, group in zip(rows, found, strict=True)
        ]

    def _judged(self, row: DatasetRow, group: Sequence[_Explained], *, dropped: DroppedRollouts) -> tuple[Rollout, ...]:
        """Let every student score a row's explanations; gives those that all of them could score."""
        by_student = [self._scored(student, row, group) for student in self._plan.student_versions]
        rollouts: list[Rollout] = []
        for (item, tokens), judged in zip(group, zip(*by_student, strict=True), strict=True):
            failures = [one for one in judged if isinstance(one, RltError)]
            if failures:
                dropped.add(failures[0], row=row, size=1)
                continue
            whole = [one for one in judged if isinstance(one, _Judged)]
            rollouts.append(
                Rollout(
                    row=row,
                    text=item.text,
                    well_formed=item.well_formed,
                    tokens=tokens,
                    score=combined([one.score for one in whole], reduction=self._plan.student_reduction),
                    scored_by=whole[0].engine,
                )
            )
        if len(rollouts) >= min(LEAST_COMPARED, self._plan.samples):
            return tuple(rollouts)
        if rollouts:
            self._report(f"the one rollout that is left of {row.id} is left out too: there is none to compare it with")
        return ()

    def _scored(self, student: str, row: DatasetRow, group: Sequence[_Explained]) -> list[_Judged | RltError]:
        """Score a row's explanations together; where that fails for good, each by itself, to find which one it is."""

        def ask(asked: Sequence[_Explained]) -> list[_Judged]:
            request = self._score_request(row, asked, student=student)
            answers = self._services.score([request])
            self._check_count(answers, wanted=1, what="score lists")
            return self._checked_scores(answers[0], request, row=row)

        return one_by_one(group, ask=ask)

    def _explain_request(self, row: DatasetRow, *, version: str, round_number: int) -> ExplainRequest:
        plan = self._plan
        return ExplainRequest(
            question=row.question,
            solution=row.solution,
            teacher=version,
            n=plan.samples,
            temperature=plan.temperature,
            max_tokens=plan.max_tokens,
            seed=rollout_seed(plan.seed, round_number, row.question),
            include=["tokens"],
        )

    def _checked(self, answer: ExplainResponse, request: ExplainRequest) -> list[_Explained]:
        expect(answer.teacher.version, request.teacher, what="an explanation's teacher")
        expect(answer.format, self._plan.format_id, what="an explanation's format")
        expect(len(answer.explanations), request.n, what="the number of explanations")
        prompt = self._codec.teacher_sequence(question=request.question, solution=request.solution).token_ids
        at = self._plan.temperature
        return [
            (item, expect_tokens(item.tokens, prompt=prompt, temperature=at, of="an explanation"))
            for item in answer.explanations
        ]

    def _score_request(self, row: DatasetRow, group: Sequence[_Explained], *, student: str) -> ScoreRequest:
        return ScoreRequest(
            question=row.question,
            solution=row.solution,
            explanations=[
                ExplanationInput(text=item.text, tokens=tokens, well_formed=item.well_formed) for item, tokens in group
            ],
            student=student,
            # A student is frozen, so a question's baseline is asked for once and kept.
            baseline=(student, _baseline_key(row)) not in self._baselines,
            reward=self._plan.reward,
        )

    def _checked_scores(self, answer: ScoreResponse, request: ScoreRequest, *, row: DatasetRow) -> list[_Judged]:
        expect(answer.student.version, request.student, what="a score's student")
        expect(answer.format, self._plan.format_id, what="a score's format")
        expect(answer.reward, request.reward, what="a score's reward coefficients")
        expect(sorted(answer.terms), sorted(FULL_REWARD), what="the reward's terms")
        expect([score.index for score in answer.scores], list(range(len(request.explanations))), what="the scores")
        if not all(math.isfinite(score.reward) for score in answer.scores):
            raise RolloutMismatchError("a reward is not finite")
        key = (request.student, _baseline_key(row))
        if answer.baseline is not None:
            self._baselines[key] = answer.baseline.mean
        baseline = self._baselines.get(key)
        if baseline is None:
            raise RolloutMismatchError("a score came without the baseline that was asked for")
        return [
            _Judged(
                score=score.model_copy(update={"uplift": score.solution.mean - baseline}), engine=answer.engine.name
            )
            for score in answer.scores
        ]

    @staticmethod
    def _check_count(answers: Sequence[object], *, wanted: int, what: str) -> None:
        expect(len(answers), wanted, what=f"the number of {what}")


def _baseline_key(row: DatasetRow) -> str:
    return f"{row.question}\0{row.solution}"


def rollout_seed(seed: int, round_number: int, question: str) -> int:
    """Give the seed of a question in a round: the same for every policy that is asked in it."""
    digest = hashlib.sha256(f"{seed}\0{round_number}\0{question}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
