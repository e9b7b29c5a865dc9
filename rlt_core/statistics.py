"""Compare two models on the same questions: means, standard errors, paired differences with bootstrap intervals."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

BOOTSTRAP_RESAMPLES = 10_000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """Mean of `after - before` over the same n questions, with its 95% interval."""

    mean: float
    ci_low: float
    ci_high: float
    n: int


def mean(values: Sequence[float]) -> float:
    """Average; raises ValueError on an empty sequence."""
    if not values:
        raise ValueError("mean of no values")
    return math.fsum(values) / len(values)


def paired_difference(
    *, before: Sequence[float], after: Sequence[float], seed: int = 0, resamples: int = BOOTSTRAP_RESAMPLES
) -> PairedDifference:
    """Bootstrap the mean paired difference over questions (percentile method, seeded, so it can be recomputed).

    Shapes: both [n], entry i of each belongs to the same question. Raises ValueError when they differ or n < 2.
    """
    if len(before) != len(after) or len(before) < 2:
        raise ValueError(f"paired values need the same questions, at least 2: got {len(before)} and {len(after)}")
    differences = [a - b for a, b in zip(after, before, strict=True)]
    count = len(differences)
    generator = random.Random(seed)
    means = sorted(math.fsum(generator.choices(differences, k=count)) / count for _ in range(resamples))
    tail = (1.0 - CONFIDENCE) / 2.0
    low = means[int(tail * (resamples - 1))]
    high = means[math.ceil((1.0 - tail) * (resamples - 1))]
    return PairedDifference(mean=mean(differences), ci_low=low, ci_high=high, n=count)
