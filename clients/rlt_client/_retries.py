"""Decide whether and when a failed call is sent again; pure but for the dice."""

import random
from dataclasses import dataclass
from typing import Final

from rlt_client._errors import APIError

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 8.0
LONGEST_RETRY_AFTER_S: Final = 60.0
"""A server that asks for more patience than this has its error raised: the caller knows better whether to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a call that may be repeated is sent again."""

    max_retries: int = 2

    def __post_init__(self) -> None:
        """Refuse a number that means nothing."""
        if self.max_retries < 0:
            raise ValueError(f"max_retries is {self.max_retries}: give 0 (never) or more")

    def pause_s(self, error: APIError, *, failures: int) -> float | None:
        """Give seconds until the next try after this many failures; None where there is none.

        Full jitter: anything between nothing and a bound that doubles, so that callers that failed together do not come
        back together. A Retry-After is waited for whole, with the jitter on top of it.
        """
        if not error.retryable or failures > self.max_retries:
            return None
        asked_s = error.retry_after_s or 0.0
        if asked_s > LONGEST_RETRY_AFTER_S:
            return None
        bound_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(failures - 1, 16))
        return asked_s + random.uniform(0.0, bound_s)
