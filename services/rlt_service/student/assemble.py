"""Own the way from log-probs to scores: cut them by the plan's spans, hand them to the reward maths. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Literal

from rlt_core.errors import InvalidRequestError
from rlt_core.formats import SegmentKind
from rlt_core.rewards import (
    RewardBreakdown,
    SolutionStats,
    kl_per_token,
    score_explanation,
    solution_stats,
)
from rlt_core.schemas.score import (
    Alignment,
    KlScore,
    Score,
    ScoreInclude,
    SolutionScore,
    StudentSequence,
    TokenScore,
)
from rlt_core.tokens import SequenceCodec, Span
from rlt_service.student.plan import PlannedExplanation, PlannedSequence, ScorePlan

K3_LOWEST_LOG_RATIO = -300.0
"""exp(300) and sums of it are finite numbers; what lies beyond is no estimate of anything."""

Logprobs = Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembled:
    """The scores of a request, in its order."""

    scores: list[Score]
    baseline: SolutionScore | None


def assemble(
    plan: ScorePlan, results: Sequence[Logprobs], *, codec: SequenceCodec, include: Sequence[ScoreInclude]
) -> Assembled:
    """Score all; `results` are the log-probs of `plan.requests`, in that order.

    Raises InvalidRequestError where k3 overflows, ScoringError for what is no log-prob.
    """
    rest = iter(results)
    of_students = list(islice(rest, len(plan.explanations)))
    baseline = None if plan.baseline is None else _solution(plan.baseline, next(rest))
    scores = [
        _score(planned, student, _teacher_T(planned, rest) if plan.with_kl else None, plan=plan, baseline=baseline)
        for planned, student in zip(plan.explanations, of_students, strict=True)
    ]
    return Assembled(
        scores=[scored.wire(index, codec=codec, include=include) for index, scored in enumerate(scores)],
        baseline=None if baseline is None else SolutionScore(**asdict(baseline)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    """One explanation's reward with everything that it was made of."""

    planned: PlannedExplanation
    student: Logprobs
    teacher_T: Logprobs | None
    """Of the teacher's tokens that have a divergence: given, computed or, where tokenizers differ, their shares."""
    kl_T: Sequence[float] | None
    breakdown: RewardBreakdown
    uplift: float | None

    def wire(self, index: int, *, codec: SequenceCodec, include: Sequence[ScoreInclude]) -> Score:
        found = self.breakdown
        return Score(
            index=index,
            reward=found.reward,
            r_ss=found.r_ss,
            r_kl=found.r_kl,
            format=found.format,
            well_formed=self.planned.well_formed,
            uplift=self.uplift,
            solution=SolutionScore(**asdict(found.solution)),
            kl=None if found.kl is None else KlScore(**asdict(found.kl), aligned=self._alignment()),
            tokens=self._tokens(codec) if "tokens" in include else None,
            sequence=self._sequence() if "sequence" in include else None,
        )

    def _tokens(self, codec: SequenceCodec) -> list[TokenScore]:
        """List the explanation's tokens (those of a straddling token's rest carry no KL), then the solution's."""
        teacher, kl = self._by_student_token(self.teacher_T), self._by_student_token(self.kl_T)
        sequence, start = self.planned.student.sequence, self.planned.student.request.start
        rest = sequence.spans.get(SegmentKind.EXPLANATION_REST)
        end = sequence.explanation.end if rest is None else rest.end
        listed: list[TokenScore] = []
        explanation = Span(start=sequence.explanation.start, end=end)
        parts: list[tuple[Literal["explanation", "solution"], Span]]
        parts = [("explanation", explanation), ("solution", sequence.solution)]
        for segment, span in parts:
            ids = sequence.token_ids[span.start : span.end]
            logprobs = _cut(self.student, span, start=start)
            for place, (token_id, text, logprob) in enumerate(zip(ids, codec.token_texts(ids), logprobs, strict=True)):
                compared = segment == "explanation" and place < len(kl)
                listed.append(
                    TokenScore(
                        segment=segment,
                        text=text,
                        id=token_id,
                        logprob=logprob,
                        teacher_logprob=teacher[place] if compared else None,
                        kl=kl[place] if compared else None,
                    )
                )
        return listed

    def _alignment(self) -> Alignment:
        return "tokens" if self.planned.aligned is None else "characters"

    def _by_student_token(self, values_T: Sequence[float] | None) -> Sequence[float]:
        """Give the student's first tokens what the teacher's have: all that are compared, or none."""
        if values_T is None or self.planned.aligned is None:
            return values_T or ()
        return self.planned.aligned.by_student_token(values_T)

    def _sequence(self) -> StudentSequence:
        sequence = self.planned.student.sequence
        return StudentSequence(
            token_ids=list(sequence.token_ids),
            explanation=(sequence.explanation.start, sequence.explanation.end),
            solution=(sequence.solution.start, sequence.solution.end),
        )


def _score(
    planned: PlannedExplanation,
    student: Logprobs,
    teacher_T: Logprobs | None,
    *,
    plan: ScorePlan,
    baseline: SolutionStats | None,
) -> _Scored:
    sequence, start = planned.student.sequence, planned.student.request.start
    kl_T = None
    if teacher_T is not None:
        student_T = _cut(student, sequence.explanation, start=start)
        if planned.aligned is not None:
            teacher_T, student_T = planned.aligned.by_teacher_token(
                teacher_logprobs_T=teacher_T, student_logprobs=student_T
            )
        if plan.weights.kl_estimator == "k3":
            _check_k3(teacher_T, student_T)
        kl_T = kl_per_token(
            teacher_logprobs_T=teacher_T, student_logprobs_T=student_T, estimator=plan.weights.kl_estimator
        )
    breakdown = score_explanation(
        solution_logprobs_S=_cut(student, sequence.solution, start=start),
        kl_T=kl_T,
        well_formed=planned.well_formed,
        weights=plan.weights,
    )
    uplift = None if baseline is None else breakdown.solution.mean - baseline.mean
    return _Scored(planned=planned, student=student, teacher_T=teacher_T, kl_T=kl_T, breakdown=breakdown, uplift=uplift)


def _teacher_T(planned: PlannedExplanation, results: Iterator[Logprobs]) -> Logprobs | None:
    """Give the teacher's log-probs [T]: given, computed, or none at all for an explanation without tokens."""
    if planned.given_T is not None:
        return planned.given_T
    if planned.teacher is None:
        return ()
    return _cut(next(results), planned.teacher.sequence.explanation, start=planned.teacher.request.start)


def _solution(planned: PlannedSequence, logprobs: Logprobs) -> SolutionStats:
    return solution_stats(_cut(logprobs, planned.sequence.solution, start=planned.request.start))


def _cut(logprobs: Logprobs, span: Span, *, start: int) -> Logprobs:
    """Take the log-probs of a span out of those from position `start` on."""
    return logprobs[span.start - start : span.end - start]


def _check_k3(teacher_T: Logprobs, student_T: Logprobs) -> None:
    lowest = min((t - s for t, s in zip(teacher_T, student_T, strict=True)), default=0.0)
    if lowest < K3_LOWEST_LOG_RATIO:
        raise InvalidRequestError(
            f"k3 grows beyond every number where the teacher finds a token {-lowest:.0f} nats less likely than the "
            "student: use k1",
            param="/reward/kl_estimator",
        )
