"""Whether contenders found the same: each run's numbers against those of our engine on the same texts. Pure.

A contender that is fast because it computes something else would show here.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Literal

from benchmarks.score.contenders import Contender
from benchmarks.score.workloads import GIVEN_LOGPROB, Item

Compared = Literal["tokens at 0.7", "tokens at 1", "solutions' tokens at 0.7", "parts of the reward at 0.7"]
"""Log-probs of each token of explanation and solution, or of the solution alone; or four numbers of each reward."""
AGREES = 1e-3
"""Nats; float32 in batches of other sizes, or with padding, rounds to some 1e-4."""
COMPARED: Mapping[Contender, Compared] = {
    "ours_in_process_rss_only": "solutions' tokens at 0.7",
    "ours_http": "parts of the reward at 0.7",
    "ours_fast": "tokens at 0.7",
    "ours_fast_rss_only": "solutions' tokens at 0.7",
    "vllm_plain": "tokens at 1",
    "transformers_batched": "tokens at 0.7",
    "one_at_a_time": "tokens at 0.7",
}
"""By contender; vLLM as it comes knows no temperature for prompts, so ours is asked once more, at 1, for it alone."""
Found = Sequence[Sequence[float]]
"""Of each sequence what a contender found."""


def largest_difference(contender: Contender, found: Found, *, ours: Found, items: Sequence[Item]) -> float:
    """Compare with our log-probs from the explanation on; sequences that a contender left out are not compared.

    Infinity for a number that is none, and for as many as should not be there.
    """
    compared = COMPARED[contender]
    apart: list[float] = []
    for theirs, mine, item in zip(found, ours, items, strict=False):  # of a sample the rest is missing
        wanted = _wanted(compared, mine, item)
        if len(theirs) != len(wanted):
            return math.inf
        apart += [abs(a - b) for a, b in zip(theirs, wanted, strict=True)]
    return max((math.inf if math.isnan(one) else one for one in apart), default=math.inf)


def _wanted(compared: Compared, mine: Sequence[float], item: Item) -> Sequence[float]:
    solution = mine[-item.solution_tokens :]
    if compared == "solutions' tokens at 0.7":
        return solution
    if compared == "parts of the reward at 0.7":
        kl = [GIVEN_LOGPROB - logprob for logprob in mine[: item.explanation_tokens]]
        return fmean(solution), min(solution), fmean(kl), max(kl)
    return mine


def figures_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Give the largest difference over all repeats, and what was compared, by workload and contender."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        part = found.setdefault(row["workload"], {})
        largest = max(row["largest_difference"], part.get(row["contender"], {}).get("largest_difference", 0.0))
        part[row["contender"]] = {"compared": row["compared"], "largest_difference": largest}
    return found


def all_agree(rows: Sequence[Mapping[str, Any]]) -> bool:
    """Tell whether no contender is further off than rounding."""
    return all(row["largest_difference"] <= AGREES for row in rows)
