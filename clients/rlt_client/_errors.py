"""Own the SDK's exceptions: one class a kind of failure, each with the server's own code and words."""

from typing import Any

from rlt_core.errors import RltError


class APIError(RltError):
    """Root of everything that a call of the SDK raises."""

    code, status, title = "api_error", 500, "API error"
    status_code: int | None = None
    """The HTTP status; None where there was no answer."""
    request_id: str | None = None
    """By which the server's log has the call."""
    body: object = None
    """The answer's body: JSON as read, else text."""

    @property
    def message(self) -> str:
        """What went wrong, as `detail` says it."""
        return self.detail


class APIConnectionError(APIError):
    """No answer: the server is not there, or the connection broke."""

    code, status, title, retryable = "connection_error", 503, "Connection error", True
    sent: bool = True
    """False where the request surely never left: no connection came about."""


class APITimeoutError(APIConnectionError):
    """No answer within the client's `timeout`, or no end within that of a wait."""

    code, status, title = "timeout", 504, "Timeout"


class APIResponseValidationError(APIError):
    """An answer that does not have the contract's shape: something else listens there, or another version."""

    code, status, title = "unexpected_response", 502, "Unexpected response"


class APIStatusError(APIError):
    """The server answered with a problem; `code` is stable, `param` points at the field at fault."""

    def __init__(
        self,
        detail: str,
        *,
        status: int,
        code: str,
        title: str = "",
        param: str | None = None,
        request_id: str | None = None,
        retryable: bool = False,
        retry_after_s: float | None = None,
        index: int | None = None,
        extra: dict[str, Any] | None = None,
        body: object = None,
    ) -> None:
        """Keep all that the problem says; `index` is the place of the failed item in a batch."""
        super().__init__(detail, param=param, retry_after_s=retry_after_s, extra=extra)
        self.status = status
        self.status_code = status
        self.body = body
        self.code = code
        self.title = title or type(self).title
        self.request_id = request_id
        self.retryable = retryable
        self.index = index

    def __str__(self) -> str:
        """Say the detail, then the code and the request's id, by which the server's log has it."""
        place = "" if self.index is None else f"item {self.index}: "
        request = "" if self.request_id is None else f", request {self.request_id}"
        return f"{place}{self.detail} ({self.status} {self.code}{request})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with every field, so that the error survives a process border."""
        fields = {
            name: getattr(self, name)
            for name in (
                *("status", "code", "title", "param", "request_id"),
                *("retryable", "retry_after_s", "index", "extra", "body"),
            )
        }
        return (_rebuild, (type(self), self.detail, fields))


def _rebuild(kind: type[APIStatusError], detail: str, fields: dict[str, Any]) -> APIStatusError:
    return kind(detail, **fields)


class BadRequestError(APIStatusError):
    """400: the body was not read."""


class AuthenticationError(APIStatusError):
    """401: no key, or one that the server does not know."""


class PermissionDeniedError(APIStatusError):
    """403: the key may not do this."""


class NotFoundError(APIStatusError):
    """404: no such thing."""


class ConflictError(APIStatusError):
    """409: the state of the thing does not allow the call."""


class PayloadTooLargeError(APIStatusError):
    """413: the body is larger than the server takes."""


class UnprocessableEntityError(APIStatusError):
    """422: a field is wrong; `param` points at it."""


class RateLimitError(APIStatusError):
    """429: the server has as much in hand as it takes; `retry_after_s` says when to come back."""


class InternalServerError(APIStatusError):
    """5xx: something of the server's broke; its log has the request id."""


class ServiceUnavailableError(InternalServerError):
    """503: a part of the server is not there at the moment; `retry_after_s` says when to come back."""


BY_STATUS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    413: PayloadTooLargeError,
    422: UnprocessableEntityError,
    429: RateLimitError,
    503: ServiceUnavailableError,
}


def class_for(status: int) -> type[APIStatusError]:
    """Choose the exception of a status: its own, else InternalServerError from 500 on, else the common one."""
    return BY_STATUS.get(status, InternalServerError if status >= 500 else APIStatusError)
