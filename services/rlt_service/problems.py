"""Own how an error becomes an answer: application/problem+json, one shape for all, its headers included."""

import math
from http import HTTPStatus

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from rlt_core.errors import (
    InternalError,
    MalformedRequestError,
    NotFoundError,
    PayloadTooLargeError,
    RltError,
    UnsupportedMediaTypeError,
)
from rlt_core.schemas.server import OpenAiError, Problem

MEDIA_TYPE = "application/problem+json"
DEFAULT_RETRY_AFTER_S = 5.0

_OPENAI_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class MethodNotAllowedError(RltError):
    """The path exists, the method does not."""

    code, status, title = "method_not_allowed", 405, "Method not allowed"


def problem_of(error: RltError, *, request_id: str) -> Problem:
    """Write an error as a problem; `extra` of the error becomes members beside the fixed ones."""
    detail = _encodable(error.detail)
    param = None if error.param is None else _encodable(error.param)
    own = {name: value for name, value in error.extra.items() if name not in Problem.model_fields}
    return Problem(
        type=f"urn:rlt:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=detail,
        code=error.code,
        param=param,
        request_id=request_id,
        retryable=error.retryable,
        error=OpenAiError(message=detail, type=_openai_type(error.status), param=param, code=error.code),
        **own,
    )


def answer_of(error: RltError, *, request_id: str) -> Response:
    """Answer with a problem; 429 and 503 always say when to come back."""
    headers: dict[str, str] = {}
    if error.status in (429, 503) or error.retry_after_s is not None:
        wait_s = DEFAULT_RETRY_AFTER_S if error.retry_after_s is None else error.retry_after_s
        headers["Retry-After"] = str(max(1, math.ceil(wait_s)))
    body = problem_of(error, request_id=request_id).model_dump_json()
    if error.status == 408:
        headers["Connection"] = "close"  # else the rest of the body would hold it open
    return Response(body, status_code=error.status, headers=headers, media_type=MEDIA_TYPE)


def unexpected(*, request_id: str) -> InternalError:
    """Make the error for an exception that nobody foresaw; its text stays in the log."""
    return InternalError(f"something of ours broke; the server's log has it under the request id {request_id}")


def from_http_exception(request: Request, error: HTTPException) -> RltError:
    """Translate what the framework raises by itself."""
    path = request.url.path
    match error.status_code:
        case 404:
            return NotFoundError(f"there is no {path} here; /openapi.json lists what there is")
        case 405:
            return MethodNotAllowedError(f"{path} does not take {request.method}; /openapi.json lists what it takes")
        case 413:
            return PayloadTooLargeError(str(error.detail))
        case 415:
            return UnsupportedMediaTypeError(str(error.detail))
        case status if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return MalformedRequestError(str(error.detail))
        case _:
            return InternalError(str(error.detail))


def _openai_type(status: int) -> str:
    return _OPENAI_TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")


def _encodable(text: str) -> str:
    """Replace halves of surrogate pairs, which a message may quote and JSON in UTF-8 cannot hold."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
