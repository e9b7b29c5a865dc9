"""Prove at start that scores come from our worker's code and agree with vLLM's own prompt log-probs."""

import logging
import math
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from rlt_core.errors import InvalidRequestError, ScoringError

_LOG = logging.getLogger(__name__)
_PROBE_TOKENS = 96
_PROBE_START = 40
# Largest difference of a log-prob; half-precision products of another batch shape round differently.
_TOLERANCE = {"float32": 1e-4}
_HALF_TOLERANCE = 0.1

_COLD = 0.7
_SAMPLED_TOLERANCE = 1e-3  # the sampler computes few rows at once, by other kernels

Score = Callable[[Sequence[int], int], Awaitable[Sequence[float]]]
"""Log-probs of the ids from a start on, at temperature 1."""
ScoreAt = Callable[[Sequence[int], int, float], Awaitable[Sequence[float]]]
"""The same at the temperature that is given last."""
SampleAt = Callable[[Sequence[int], float], Awaitable[tuple[int, float]]]
"""One token that follows the ids, with its log-prob at the sampling temperature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What the check found; `fault` is empty where the worker proved itself."""

    fault: str
    largest_difference: float


async def check_scoring(
    *,
    vocabulary: Sequence[int],
    dtype: str,
    score_by_worker: ScoreAt,
    score_from_cache: Score,
    score_plainly: Score,
    sample: SampleAt,
    scored_positions: Callable[[], Awaitable[int]],
) -> CheckResult:
    """Score a fixed probe plainly and by the worker, whole and with its beginning read from the prefix cache.

    Compares, and counts that the worker's code scored exactly the wanted positions. At another temperature than 1,
    which vLLM's own scores do not know, the worker is compared with what the sampler says of a token that it drew.
    """
    probe = random.Random(0).choices(vocabulary, k=_PROBE_TOKENS)
    tolerance = _TOLERANCE.get(dtype, _HALF_TOLERANCE)
    plain: Sequence[float] = ()
    largest = 0.0

    async def warm(ids: Sequence[int], start: int) -> Sequence[float]:
        return await score_by_worker(ids, start, 1.0)

    for score in (warm, score_from_cache):
        before = await scored_positions()
        try:
            ours = await score(probe, _PROBE_START)
        except (ScoringError, InvalidRequestError) as error:
            # As vLLM's code answers: with a log-prob for every position, or refusing parameters that it does not know.
            return _warned(CheckResult(fault=error.detail, largest_difference=math.inf))
        counted = await scored_positions() - before
        plain = plain or await score_plainly(probe, _PROBE_START)
        result = judge(ours=ours, plain=plain, counted=counted, tolerance=tolerance)
        if result.fault:
            return _warned(result)
        largest = max(largest, result.largest_difference)
    token, drawn = await sample(probe, _COLD)
    scored = (await score_by_worker([*probe, token], len(probe), _COLD))[0]
    if not abs(scored - drawn) <= max(tolerance, _SAMPLED_TOLERANCE):
        fault = f"at temperature {_COLD} it gives a token {scored:.4f} that the sampler drew at {drawn:.4f}"
        return _warned(CheckResult(fault=fault, largest_difference=abs(scored - drawn)))
    return CheckResult(fault="", largest_difference=largest)


def judge(*, ours: Sequence[float], plain: Sequence[float], counted: int, tolerance: float) -> CheckResult:
    """Compare two lists of log-probs and the worker's own count."""
    wanted = len(plain)
    differences = [abs(a - b) for a, b in zip(ours, plain, strict=False)]
    largest = max(differences, default=0.0) if all(map(math.isfinite, differences)) else math.inf
    if len(ours) != wanted:
        fault = f"it gave {len(ours)} log-probs for {wanted} positions"
    elif counted != wanted:
        fault = f"it says that it scored {counted} positions, wanted were {wanted}: another code ran"
    elif largest > tolerance:
        fault = f"its log-probs differ from vLLM's by up to {largest:.2g}, more than {tolerance:g}"
    else:
        fault = ""
    return CheckResult(fault=fault, largest_difference=largest)


def _warned(result: CheckResult) -> CheckResult:
    if result.fault:
        _LOG.warning("The scoring worker is not used, only temperature 1 can be scored: %s", result.fault)
    return result
