"""Wait for a condition instead of sleeping."""

import time
from collections.abc import Callable
from typing import Final

AT_ONCE_S: Final = 0.01
"""Between two looks at what costs nothing to look at, where the moment matters."""
SELDOM_S: Final = 0.25
"""Between two calls to what starts for seconds: it needs the processor that a caller takes."""


def wait_until(
    condition: Callable[[], bool], *, what: str, timeout_s: float = 30.0, every_s: float = AT_ONCE_S
) -> None:
    """Look again and again until the condition holds; fails with `what` when it never does."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise AssertionError(f"not within {timeout_s:g} s: {what}")
        time.sleep(every_s)
