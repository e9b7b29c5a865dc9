"""The RLT reward: per-token log-probs in, RewardBreakdown out. No I/O, no torch; the only place with this maths.

Source: Cetin, Zhao, Tang 2025 (arXiv 2506.08388), section 3; coefficients of the paper's run as defaults.
S solution tokens, T explanation tokens; all log-probs are natural logs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rlt_core.errors import ScoringError

KlEstimator = Literal["k1", "k3"]

EMPTY_EXPLANATION_KL = 1.0
"""Mean and max of the KL of an explanation without tokens: silence must cost something (our rule)."""

HIGHEST_LOGPROB = 1e-3
"""Rounding may lift a certain token's log-prob a little above 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardWeights:
    """Coefficients of the reward; `temperature` divides the student's logits before the softmax."""

    solution_mean: float = 1.0
    solution_min: float = 0.01
    kl_mean: float = 3.0
    kl_max: float = 0.03
    temperature: float = 0.7
    kl_estimator: KlEstimator = "k1"
    format_penalty: float = -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SolutionStats:
    """Summary of the student's log-probs of the solution tokens."""

    mean: float
    min: float
    sum: float
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KlStats:
    """Summary of the per-token divergence of teacher from student over the explanation."""

    mean: float
    max: float
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardBreakdown:
    """The reward and each part of it: `reward = r_ss - r_kl + format`; `r_kl` is 0 where there is no KL term."""

    reward: float
    r_ss: float
    r_kl: float
    format: float
    solution: SolutionStats
    kl: KlStats | None


def check_logprobs(logprobs: Sequence[float], *, name: str) -> None:
    """Raise ScoringError, with its place, for a value that is not finite or above 0 by more than rounding."""
    # Most have none: look at the values one by one only where one is wrong.
    if all(map(math.isfinite, logprobs)) and max(logprobs, default=0.0) <= HIGHEST_LOGPROB:
        return
    for position, value in enumerate(logprobs):
        if not math.isfinite(value) or value > HIGHEST_LOGPROB:
            raise ScoringError(
                f"{name} log-prob {value!r} at position {position} is not a log-prob (finite, at most 0)"
            )


def kl_per_token(
    *, teacher_logprobs_T: Sequence[float], student_logprobs_T: Sequence[float], estimator: KlEstimator = "k1"
) -> list[float]:
    """Estimate the divergence of teacher from student at each sampled token.

    Shapes: both [T], natural logs. k1 is the log-ratio; k3 = k1 - 1 + exp(-k1) is never negative (Schulman 2020).
    Raises ScoringError when the lengths differ or a value is not a log-prob.
    """
    if len(teacher_logprobs_T) != len(student_logprobs_T):
        raise ScoringError(
            f"{len(teacher_logprobs_T)} teacher log-probs for {len(student_logprobs_T)} of the student: "
            "both must cover exactly the explanation's tokens"
        )
    check_logprobs(teacher_logprobs_T, name="teacher")
    check_logprobs(student_logprobs_T, name="student")
    log_ratios_T = [t - s for t, s in zip(teacher_logprobs_T, student_logprobs_T, strict=True)]
    if estimator == "k1":
        return log_ratios_T
    return [_k3(ratio) for ratio in log_ratios_T]


def solution_stats(solution_logprobs_S: Sequence[float]) -> SolutionStats:
    """Summarise log-probs [S] of the solution; raises ScoringError when there is none or one is not finite."""
    if not solution_logprobs_S:
        raise ScoringError("no log-prob for the solution: a solution has at least one token")
    check_logprobs(solution_logprobs_S, name="solution")
    total = math.fsum(solution_logprobs_S)
    count = len(solution_logprobs_S)
    return SolutionStats(mean=total / count, min=min(solution_logprobs_S), sum=total, tokens=count)


def kl_stats(kl_T: Sequence[float]) -> KlStats:
    """Summarise per-token divergences [T]; an empty explanation counts as EMPTY_EXPLANATION_KL."""
    if not kl_T:
        return KlStats(mean=EMPTY_EXPLANATION_KL, max=EMPTY_EXPLANATION_KL, tokens=0)
    if not all(math.isfinite(value) for value in kl_T):
        raise ScoringError("a divergence is not finite: the log-probs behind it are wrong")
    return KlStats(mean=math.fsum(kl_T) / len(kl_T), max=max(kl_T), tokens=len(kl_T))


def score_explanation(
    *,
    solution_logprobs_S: Sequence[float],
    kl_T: Sequence[float] | None,
    well_formed: bool,
    weights: RewardWeights,
) -> RewardBreakdown:
    """Reward an explanation that makes the solution likely and stays natural to the student.

    `kl_T` None leaves the KL term out (no teacher log-probs known); an empty sequence is an empty explanation.
    `well_formed` False (the explanation was never closed) adds `format_penalty`.
    """
    solution = solution_stats(solution_logprobs_S)
    kl = None if kl_T is None else kl_stats(kl_T)
    r_ss = weights.solution_mean * solution.mean + weights.solution_min * solution.min
    r_kl = 0.0 if kl is None else weights.kl_mean * kl.mean + weights.kl_max * kl.max
    format_term = 0.0 if well_formed else weights.format_penalty
    return RewardBreakdown(
        reward=r_ss - r_kl + format_term, r_ss=r_ss, r_kl=r_kl, format=format_term, solution=solution, kl=kl
    )


def _k3(log_ratio: float) -> float:
    try:
        return log_ratio - 1.0 + math.exp(-log_ratio)
    except OverflowError as error:
        raise ScoringError(f"k3 overflows at a log-ratio of {log_ratio:.1f}: use k1") from error
