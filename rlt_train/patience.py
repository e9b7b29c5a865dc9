"""Own what a trainer does when a service fails: wait while it is away, ask again, never go on without an answer."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from rlt_core.errors import RltError

AnswerT = TypeVar("AnswerT")

_AWAY_STATUS = frozenset({429, 502, 503, 504})


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to go on asking. The clock and the sleep are passed in, so that tests need no time."""

    report: Callable[[str], None]
    sleep: Callable[[float], None]
    monotonic: Callable[[], float] = time.monotonic
    away_s: float = 1800.0
    """A service that is away (429, 502, 503, 504, no connection) is waited for this long from its first failure on."""
    attempts: int = 5
    """Other failures worth another try are tried this often."""
    first_pause_s: float = 1.0
    longest_pause_s: float = 30.0

    def call(self, action: Callable[[], AnswerT], *, what: str) -> AnswerT:
        """Run `action` until it answers; raises its last error once patience is spent or no retry can help."""
        failures, began_s = 0, 0.0
        while True:
            try:
                answer = action()
            except RltError as error:
                failures += 1
                began_s = began_s if failures > 1 else self.monotonic()
                if not self._worth_another(error, failures=failures, waited_s=self.monotonic() - began_s):
                    raise
                pause_s = self._pause_s(error, failures=failures)
                self.report(f"{what} failed ({error}); trying again in {pause_s:.1f} s (failure {failures})")
            else:
                if failures:
                    self.report(f"{what} works again after {self.monotonic() - began_s:.0f} s")
                return answer
            self.sleep(pause_s)

    def _worth_another(self, error: RltError, *, failures: int, waited_s: float) -> bool:
        if error.status in _AWAY_STATUS:
            return waited_s < self.away_s
        return error.retryable and failures < self.attempts

    def _pause_s(self, error: RltError, *, failures: int) -> float:
        doubled_s = self.first_pause_s * 2.0 ** min(failures - 1, 16)
        # Jitter keeps several trainers that wait for one engine from asking in step.
        return min(self.longest_pause_s, max(error.retry_after_s or 0.0, doubled_s) * random.uniform(0.8, 1.2))
