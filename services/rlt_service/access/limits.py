"""Own how often and how many at once a key may call, counted in this process."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from rlt_core.errors import RateLimitedError
from rlt_service.store.keys import Key

AT_ONCE_RETRY_S = 1.0


@dataclass(slots=True, kw_only=True)
class _Count:
    tokens: float
    at: float
    running: int = 0


class KeyLimits:
    """A bucket a key that fills by its limit each minute, and the count of its calls that run."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._counts: dict[str, _Count] = {}

    def enter(self, key: Key) -> None:
        """Count a call that begins; raises RateLimitedError, and then it counts for nothing."""
        now = self._clock()
        count = self._counts.setdefault(key.id, _Count(tokens=float(key.max_per_minute or 0), at=now))
        if key.max_at_once is not None and count.running >= key.max_at_once:
            raise RateLimitedError(
                f"this key has {count.running} calls running, as many as it may: wait for one to end",
                retry_after_s=AT_ONCE_RETRY_S,
            )
        if key.max_per_minute is not None:
            rate = key.max_per_minute / 60
            count.tokens = min(float(key.max_per_minute), count.tokens + (now - count.at) * rate)
            count.at = now
            if count.tokens < 1:
                raise RateLimitedError(
                    f"this key may call {key.max_per_minute} times a minute: come back later",
                    retry_after_s=math.ceil((1 - count.tokens) / rate),
                )
            count.tokens -= 1
        count.running += 1

    def leave(self, key: Key) -> None:
        """Count a call that has ended."""
        count = self._counts[key.id]
        count.running -= 1
        if not count.running and key.max_per_minute is None:  # keys of attempts come and go
            del self._counts[key.id]
