"""The reward of a student that is reinforced on its own answers: whether they are right, and whether they end. Pure.

`reward = right * [the answer is right] + format`, where the format's term is `format_penalty` for a solution that was
never closed, else 0. Whether an answer is right, a rule says (`rlt_core.verdicts`), which calls no unclosed solution
right; so one is worth exactly `right`, 0 or `format_penalty`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiableWeights:
    """What a right answer is worth, and what a solution costs that was never closed."""

    right: float = 1.0
    format_penalty: float = -1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiableBreakdown:
    """The reward and its two parts: `reward = correctness + format`."""

    reward: float
    correctness: float
    format: float


def reward_solution(*, right: bool, closed: bool, weights: VerifiableWeights) -> VerifiableBreakdown:
    """Reward a solution; `closed` says that it came to its end in the student's format.

    Raises ValueError for a solution that is right and was never closed: no rule says so.
    """
    if right and not closed:
        raise ValueError("a solution that was never closed is called right: no rule does so")
    correctness = weights.right if right else 0.0
    format_term = 0.0 if closed else weights.format_penalty
    return VerifiableBreakdown(reward=correctness + format_term, correctness=correctness, format=format_term)
