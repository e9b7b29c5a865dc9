"""Own an answer together with its HTTP response."""

from collections.abc import Callable
from typing import Generic, TypeVar

import httpx

AnswerT = TypeVar("AnswerT")


class RawResponse(Generic[AnswerT]):
    """Status, headers and body of a call's HTTP response; `parse()` gives what the call gives by itself."""

    def __init__(self, response: httpx.Response, *, read: Callable[[httpx.Response], AnswerT]) -> None:
        self.http_response = response
        self._read = read

    def parse(self) -> AnswerT:
        """Read the typed answer; raises APIResponseValidationError where it is something else."""
        return self._read(self.http_response)

    @property
    def status_code(self) -> int:
        """The HTTP status."""
        return self.http_response.status_code

    @property
    def headers(self) -> httpx.Headers:
        """The headers, such as RLT-Teacher-Version or Idempotency-Replayed."""
        return self.http_response.headers

    @property
    def content(self) -> bytes:
        """The body as it came."""
        return self.http_response.content

    @property
    def request_id(self) -> str | None:
        """By which the server's log has the call."""
        return self.http_response.headers.get("X-Request-Id")
