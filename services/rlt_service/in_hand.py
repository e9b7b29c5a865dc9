"""Own how much work the engine may have in hand: beyond it callers are told to come back, instead of waiting."""

from collections.abc import Generator
from contextlib import contextmanager

from rlt_core.errors import InvalidRequestError, OverloadedError

RETRY_AFTER_S = 2.0
"""About what a batch takes."""


class InHand:
    """Counts engine requests (one a completion, one a scored sequence) of all calls of this process."""

    def __init__(self, *, max_requests: int) -> None:
        self._max_requests = max_requests
        self._requests = 0

    @property
    def requests(self) -> int:
        """Engine requests in hand."""
        return self._requests

    @contextmanager
    def taken(self, requests: int) -> Generator[None]:
        """Hold room for `requests`; raises OverloadedError, InvalidRequestError where no waiting would help."""
        if requests > self._max_requests:
            raise InvalidRequestError(
                f"the call asks for {requests} generations or scores at once, this server takes {self._max_requests}: "
                "send it in parts"
            )
        if self._requests + requests > self._max_requests:
            raise OverloadedError(
                f"{self._requests} requests are in hand, with {requests} more it would be above the "
                f"{self._max_requests} that this server takes: try again",
                retry_after_s=RETRY_AFTER_S,
            )
        self._requests += requests
        try:
            yield
        finally:
            self._requests -= requests
