"""Own one step's rollouts: explanations by exactly the policy asked for, their rewards, and the checks of both."""

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

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
from rlt_train.errors import RolloutMismatchError
from rlt_train.services import Services
from rlt_train.several_students import combined

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """Rollouts in the order of the rows, `samples` for each, and the time that each service took in seconds."""

    rollouts: tuple[Rollout, ...]
    explain_s: float
    score_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judgement:
    scores: Sequence[Score]
    engine: str


class Collector:
    """Asks for explanations and rewards, and accepts nothing but what was asked for."""

    def __init__(self, services: Services, *, codec: SequenceCodec, plan: SamplingPlan) -> None:
        self._services = services
        self._codec = codec
        self._plan = plan
        self._baselines: dict[tuple[str, str], float] = {}

    def collect(self, rows: Sequence[DatasetRow], *, version: str, round_number: int) -> Collected:
        """Sample and score explanations of each row by `version`; `round_number` varies the seed.

        Raises RolloutMismatchError for an answer that is not what was asked for, and the services' own errors.
        """
        began_s = time.monotonic()
        requests = [self._explain_request(row, version=version, round_number=round_number) for row in rows]
        answers = self._services.explain(requests)
        self._check_count(answers, wanted=len(requests), what="explanation lists")
        groups = [self._checked(answer, request) for answer, request in zip(answers, requests, strict=True)]
        explained_s = time.monotonic()
        judgements = self._score(rows, groups)
        rollouts = tuple(
            Rollout(
                row=row,
                text=item.text,
                well_formed=item.well_formed,
                tokens=tokens,
                score=score,
                scored_by=judged.engine,
            )
            for row, group, judged in zip(rows, groups, judgements, strict=True)
            for (item, tokens), score in zip(group, judged.scores, strict=True)
        )
        return Collected(rollouts=rollouts, explain_s=explained_s - began_s, score_s=time.monotonic() - explained_s)

    def _explain_request(self, row: DatasetRow, *, version: str, round_number: int) -> ExplainRequest:
        plan = self._plan
        return ExplainRequest(
            question=row.question,
            solution=row.solution,
            teacher=version,
            n=plan.samples,
            temperature=plan.temperature,
            max_tokens=plan.max_tokens,
            seed=_seed(plan.seed, round_number, row.question),
            include=["tokens"],
        )

    def _checked(self, answer: ExplainResponse, request: ExplainRequest) -> list[tuple[Explanation, CompletionTokens]]:
        _expect(answer.teacher.version, request.teacher, what="an explanation's teacher")
        _expect(answer.format, self._plan.format_id, what="an explanation's format")
        _expect(len(answer.explanations), request.n, what="the number of explanations")
        prompt = self._codec.teacher_sequence(question=request.question, solution=request.solution).token_ids
        return [(item, self._checked_tokens(item, prompt=prompt)) for item in answer.explanations]

    def _checked_tokens(self, item: Explanation, *, prompt: tuple[int, ...]) -> CompletionTokens:
        tokens = item.tokens
        if tokens is None or not tokens.completion_token_ids:
            raise RolloutMismatchError("an explanation came without its token ids although they were asked for")
        _expect(tuple(tokens.prompt_token_ids), prompt, what="the prompt's token ids")
        _expect(tokens.temperature, self._plan.temperature, what="the temperature of the log-probs")
        _expect(len(tokens.completion_logprobs), len(tokens.completion_token_ids), what="the number of log-probs")
        if not all(math.isfinite(value) for value in tokens.completion_logprobs):
            raise RolloutMismatchError("a log-prob of an explanation is not finite")
        return tokens

    def _score(
        self, rows: Sequence[DatasetRow], groups: Sequence[Sequence[tuple[Explanation, CompletionTokens]]]
    ) -> list[_Judgement]:
        plan = self._plan
        by_student = [self._score_by(student, rows, groups) for student in plan.student_versions]
        return [
            _Judgement(
                scores=[
                    combined(scores, reduction=plan.student_reduction)
                    for scores in zip(*(judged.scores for judged in judgements), strict=True)
                ],
                engine=judgements[0].engine,
            )
            for judgements in zip(*by_student, strict=True)
        ]

    def _score_by(
        self,
        student: str,
        rows: Sequence[DatasetRow],
        groups: Sequence[Sequence[tuple[Explanation, CompletionTokens]]],
    ) -> list[_Judgement]:
        requests = [self._score_request(row, group, student=student) for row, group in zip(rows, groups, strict=True)]
        answers = self._services.score(requests)
        self._check_count(answers, wanted=len(requests), what="score lists")
        return [
            self._checked_scores(answer, request, row=row)
            for answer, request, row in zip(answers, requests, rows, strict=True)
        ]

    def _score_request(
        self, row: DatasetRow, group: Sequence[tuple[Explanation, CompletionTokens]], *, student: str
    ) -> ScoreRequest:
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

    def _checked_scores(self, answer: ScoreResponse, request: ScoreRequest, *, row: DatasetRow) -> _Judgement:
        _expect(answer.student.version, request.student, what="a score's student")
        _expect(answer.format, self._plan.format_id, what="a score's format")
        _expect(answer.reward, request.reward, what="a score's reward coefficients")
        _expect(sorted(answer.terms), sorted(FULL_REWARD), what="the reward's terms")
        _expect([score.index for score in answer.scores], list(range(len(request.explanations))), what="the scores")
        if not all(math.isfinite(score.reward) for score in answer.scores):
            raise RolloutMismatchError("a reward is not finite")
        key = (request.student, _baseline_key(row))
        if answer.baseline is not None:
            self._baselines[key] = answer.baseline.mean
        baseline = self._baselines.get(key)
        if baseline is None:
            raise RolloutMismatchError("a score came without the baseline that was asked for")
        scores = [score.model_copy(update={"uplift": score.solution.mean - baseline}) for score in answer.scores]
        return _Judgement(scores=scores, engine=answer.engine.name)

    @staticmethod
    def _check_count(answers: Sequence[object], *, wanted: int, what: str) -> None:
        _expect(len(answers), wanted, what=f"the number of {what}")


def _expect(seen: object, wanted: object, *, what: str) -> None:
    if seen != wanted:
        shown = f"asked for {_short(wanted)}, got {_short(seen)}"
        raise RolloutMismatchError(f"{what}: {shown}; nothing of this answer is used")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"


def _baseline_key(row: DatasetRow) -> str:
    return f"{row.question}\0{row.solution}"


def _seed(seed: int, round_number: int, question: str) -> int:
    digest = hashlib.sha256(f"{seed}\0{round_number}\0{question}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
