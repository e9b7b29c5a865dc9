"""Whose tokens an answer holds: the version that it is stamped with computes every token's log-prob again.

The two versions are random adapters, one of them merged into the base for a fully trained one: what one samples, the
other finds unlikely by whole nats, so that an answer made by two versions, or by the wrong one, cannot pass.
"""

from collections.abc import Sequence
from typing import Any

import httpx

from benchmarks.swap.load import QUESTION, SOLUTION, TEMPERATURE, Seen

TOLERANCE = 1e-3
"""Nats; float32 in batches of another size rounds to some 1e-5, and the share of control tokens, which are in a score's
log-probs and not in a sample's (docs/decisions/0012), is as small with these versions at this temperature."""
AT_ONCE = 256


def apart_of(address: str, answers: Sequence[Seen]) -> list[float]:
    """Give of each answer how far, in nats, a token's log-prob is at most from what the stamped version says of it."""
    apart = [0.0] * len(answers)
    with httpx.Client(base_url=address, timeout=600.0) as http:
        for version in sorted({seen.version for seen in answers}):
            mine = [place for place, seen in enumerate(answers) if seen.version == version]
            for first in range(0, len(mine), AT_ONCE):
                part = mine[first : first + AT_ONCE]
                for place, logprobs in zip(part, _again(http, version, [answers[p] for p in part]), strict=True):
                    given = answers[place].tokens["completion_logprobs"][: len(logprobs)]
                    apart[place] = max((abs(a - b) for a, b in zip(given, logprobs, strict=True)), default=0.0)
    return apart


def _again(http: httpx.Client, version: str, answers: Sequence[Seen]) -> list[list[float]]:
    """Have the version score the explanations' tokens as their teacher."""
    body: dict[str, Any] = {
        "question": QUESTION,
        "solution": SOLUTION,
        "teacher": version,
        "explanations": [{"tokens": seen.tokens} for seen in answers],
        "include": ["tokens"],
        "reward": {"temperature": TEMPERATURE},
    }
    scores = http.post("/v1/score", json=body).raise_for_status().json()["scores"]
    return [
        [t["teacher_logprob"] for t in score["tokens"] if t["segment"] == "explanation" and t["kl"] is not None]
        for score in scores
    ]
