"""Wait for a condition instead of sleeping."""

import time
from collections.abc import Callable
from typing import Final

OFTENEST_S: Final = 0.01
SELDOMEST_S: Final = 0.25
SHARE: Final = 0.05
"""Of the time that has passed, between two looks: what is waited for needs the processor."""


def wait_until(condition: Callable[[], bool], *, what: str, timeout_s: float = 30.0) -> None:
    """Look again and again until the condition holds; fails with `what` when it never does."""
    begun_s = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - begun_s
        if waited_s > timeout_s:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(min(max(OFTENEST_S, SHARE * waited_s), SELDOMEST_S))
