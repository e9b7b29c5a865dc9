"""Own one score out of several students': their mean, or that of the one who understands least. Pure."""

from collections.abc import Sequence

from rlt_core.schemas.jobs import StudentReduction
from rlt_core.schemas.score import KlScore, Score, SolutionScore
from rlt_core.statistics import mean


def combined(scores: Sequence[Score], *, reduction: StudentReduction) -> Score:
    """Combine what several students make of one explanation; `scores` are in their order, at least one.

    `mean` averages the reward and each of its parts, so that reward = r_ss - r_kl + format still holds; `worst` is the
    whole score of the student with the lowest reward.
    """
    if reduction == "worst":
        return min(scores, key=lambda score: score.reward)
    if len(scores) == 1:
        return scores[0]
    first = scores[0]
    uplifts = [score.uplift for score in scores if score.uplift is not None]
    return first.model_copy(
        update={
            "reward": mean([score.reward for score in scores]),
            "r_ss": mean([score.r_ss for score in scores]),
            "r_kl": mean([score.r_kl for score in scores]),
            "format": mean([score.format for score in scores]),
            "uplift": mean(uplifts) if len(uplifts) == len(scores) else None,
            "solution": _solution([score.solution for score in scores]),
            "kl": _kl([score.kl for score in scores if score.kl is not None]),
        }
    )


def _solution(parts: Sequence[SolutionScore]) -> SolutionScore:
    return SolutionScore(
        mean=mean([part.mean for part in parts]),
        min=mean([part.min for part in parts]),
        sum=mean([part.sum for part in parts]),
        tokens=parts[0].tokens,
    )


def _kl(parts: Sequence[KlScore]) -> KlScore | None:
    if not parts:
        return None
    mean_of, max_of = mean([part.mean for part in parts]), mean([part.max for part in parts])
    return parts[0].model_copy(update={"mean": mean_of, "max": max_of})
