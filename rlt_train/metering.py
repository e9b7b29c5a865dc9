"""Own the count of tokens that a training has had read, written and scored, under the names that every kind's cost has.

A collect and an evaluate count question by question, and need none of this.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from rlt_core.schemas.explain import ExplainRequest, ExplainResponse, ExplainUsage
from rlt_core.schemas.score import ScoreRequest, ScoreResponse
from rlt_core.schemas.solve import SolveRequest, SolveResponse
from rlt_train.services import Services

TOKENS = ("prompt_tokens", "cached_tokens", "generated_tokens", "scored_tokens", "scored_cached_tokens")


@dataclass(slots=True)
class Meter:
    """Tokens of one attempt; threads may count at the same time."""

    tokens: dict[str, float] = field(default_factory=lambda: dict.fromkeys(TOKENS, 0.0))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wrote(self, usage: ExplainUsage) -> None:
        """Count an answer of /explain or /solve."""
        with self._lock:
            self.tokens["prompt_tokens"] += usage.prompt_tokens
            self.tokens["cached_tokens"] += usage.cached_tokens
            self.tokens["generated_tokens"] += usage.completion_tokens

    def scored(self, answer: ScoreResponse) -> None:
        """Count an answer of /score."""
        with self._lock:
            self.tokens["scored_tokens"] += answer.usage.prompt_tokens
            self.tokens["scored_cached_tokens"] += answer.usage.cached_tokens


class MeteredServices:
    """Any Services, whose answers are counted."""

    def __init__(self, inner: Services, *, meter: Meter) -> None:
        self._inner = inner
        self._meter = meter

    @property
    def calls_at_once(self) -> int:
        """As many as those that are asked take."""
        return self._inner.calls_at_once

    def explain(self, requests: Sequence[ExplainRequest]) -> list[ExplainResponse]:
        """Sample explanations."""
        answers = self._inner.explain(requests)
        for answer in answers:
            self._meter.wrote(answer.usage)
        return answers

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        """Judge explanations."""
        answers = self._inner.score(requests)
        for answer in answers:
            self._meter.scored(answer)
        return answers

    def solve(self, requests: Sequence[SolveRequest]) -> list[SolveResponse]:
        """Have questions solved."""
        answers = self._inner.solve(requests)
        for answer in answers:
            self._meter.wrote(answer.usage)
        return answers

    def publish(self, *, step: int, sha256: str) -> str:
        """Make the policy of a step callable; nothing is counted."""
        return self._inner.publish(step=step, sha256=sha256)
