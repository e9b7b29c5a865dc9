"""Means over questions, pass@k and paired differences, with bootstrap intervals."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanInterval:
    """Mean over n questions, with its 95% interval."""

    mean: float
    ci_low: float | None
    ci_high: float | None
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
    low, high = _interval(differences, seed=seed, resamples=resamples)
    return PairedDifference(mean=mean(differences), ci_low=low, ci_high=high, n=len(differences))


def mean_interval(values: Sequence[float], *, seed: int = 0, resamples: int = BOOTSTRAP_RESAMPLES) -> MeanInterval:
    """Bootstrap the mean over questions, of which each has one value; the method of `paired_difference`.

    Of a single question there is no interval: its ends are null. Raises ValueError on no values.
    """
    if len(values) < 2:
        return MeanInterval(mean=mean(values), ci_low=None, ci_high=None, n=len(values))
    low, high = _interval(values, seed=seed, resamples=resamples)
    return MeanInterval(mean=mean(values), ci_low=low, ci_high=high, n=len(values))


def pass_at_k(*, samples: int, right: int, k: int) -> float:
    """Estimate without bias the chance that at least one of k answers is right, from `right` of `samples` answers.

    1 - C(samples - right, k) / C(samples, k): the share of all choices of k of the samples that hold a right one (Chen
    et al. 2021, section 2.1). Raises ValueError unless 1 <= k <= samples and 0 <= right <= samples.
    """
    if not 1 <= k <= samples or not 0 <= right <= samples:
        raise ValueError(f"no choice of {k} among {samples} answers, of which {right} are right")
    return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)


def _interval(values: Sequence[float], *, seed: int, resamples: int) -> tuple[float, float]:
    count = len(values)
    generator = random.Random(seed)
    means = sorted(math.fsum(generator.choices(values, k=count)) / count for _ in range(resamples))
    tail = (1.0 - CONFIDENCE) / 2.0
    return means[int(tail * (resamples - 1))], means[math.ceil((1.0 - tail) * (resamples - 1))]
