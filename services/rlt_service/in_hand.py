"""Own how much work the engine may have in hand: beyond it callers are told to come back, instead of waiting."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from rlt_core.errors import InvalidRequestError, OverloadedError

RETRY_AFTER_S = 2.0
"""About what a batch takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a call asks of the engine."""

    requests: int
    """Completions or scored sequences."""
    tokens: int
    """Of their sequences, a completion at its longest."""


class InHand:
    """Counts what all calls of this process ask of the engine, from their admission to their end."""

    def __init__(self, *, max_requests: int, max_tokens: int) -> None:
        self._max_requests = max_requests
        self._max_tokens = max_tokens
        self._requests = 0
        self._tokens = 0

    @property
    def requests(self) -> int:
        """Engine requests in hand."""
        return self._requests

    @property
    def tokens(self) -> int:
        """Tokens of the engine requests in hand."""
        return self._tokens

    @property
    def fullness(self) -> float:
        """How much of the room is taken, of requests or of tokens, whichever is the scarcer: 0 to 1."""
        return max(self._requests / self._max_requests, self._tokens / self._max_tokens)

    @contextmanager
    def taken(self, load: Load, *, begun: bool = False) -> Generator[None]:
        """Hold room for `load`; raises OverloadedError, InvalidRequestError where no waiting would help.

        The rest of a call that has `begun` is counted and never refused: what it has made would be lost.
        """
        with self._held(load, begun=begun):
            yield

    @contextmanager
    def reserved(self, least: Load, *, begun: bool = False) -> Generator[None]:
        """Hold room for the least that a call will ask, while it is looked up or tokenised to learn the rest.

        What would be refused anyway is neither, and only so much is at a time as there is room for. Raises as `taken`.
        """
        with self._held(least, begun=begun):
            yield

    @contextmanager
    def _held(self, load: Load, *, begun: bool) -> Generator[None]:
        if not begun:
            self._check(load)
        self._requests += load.requests
        self._tokens += load.tokens
        try:
            yield
        finally:
            self._requests -= load.requests
            self._tokens -= load.tokens

    def _check(self, load: Load) -> None:
        if load.requests > self._max_requests or load.tokens > self._max_tokens:
            raise InvalidRequestError(
                f"the call asks for {load.requests} generations or scores of {load.tokens} tokens at once, this server "
                f"takes {self._max_requests} of {self._max_tokens}: send it in parts"
            )
        if self._requests + load.requests > self._max_requests or self._tokens + load.tokens > self._max_tokens:
            raise OverloadedError(
                f"{self._requests} requests of {self._tokens} tokens are in hand, with {load.requests} more of "
                f"{load.tokens} it would be above the {self._max_requests} of {self._max_tokens} that this server "
                "takes: try again",
                retry_after_s=RETRY_AFTER_S,
            )
