"""Own the ratio of two ways that were measured in pairs, one after the other, with its interval. Pure."""

import math
from collections.abc import Sequence

from rlt_core.statistics import paired_difference


def paired_ratio(over: Sequence[float], under: Sequence[float]) -> dict[str, float]:
    """Give the geometric mean of over/under, pair by pair, and its 95% interval: `ratio`, `ci_low`, `ci_high`.

    Values are above 0. Raises InvalidRequestError for fewer than 2 pairs, as `paired_difference` does.
    """
    found = paired_difference(before=[math.log(value) for value in under], after=[math.log(value) for value in over])
    named = (("ratio", found.mean), ("ci_low", found.ci_low), ("ci_high", found.ci_high))
    return {name: round(math.exp(value), 4) for name, value in named}
