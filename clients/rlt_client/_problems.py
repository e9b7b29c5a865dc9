"""Turn an answer that is not a success into the exception that says it; pure, no network."""

from pydantic import ValidationError

from rlt_client._errors import APIStatusError, class_for
from rlt_core.schemas.server import Problem

_OWN_FIELDS = frozenset(Problem.model_fields)


def from_response(*, status: int, body: bytes, request_id: str | None, retry_after: str | None) -> APIStatusError:
    """Read a problem; a body that is none (a proxy's page, say) is quoted as it stands, 200 characters of it."""
    try:
        problem = Problem.model_validate_json(body)
    except ValidationError:
        text = " ".join(body.decode("utf-8", errors="replace").split())[:200]
        detail = f"the server answered {status} without a problem body: {text or '(empty)'}"
        return class_for(status)(
            detail,
            status=status,
            code=f"http_{status}",
            request_id=request_id,
            retryable=status in (429, 502, 503, 504),
            retry_after_s=_seconds(retry_after),
        )
    return from_problem(problem, retry_after_s=_seconds(retry_after))


def from_problem(problem: Problem, *, index: int | None = None, retry_after_s: float | None = None) -> APIStatusError:
    """Make the exception of a problem; `index` is the place of the item in a batch."""
    return class_for(problem.status)(
        problem.detail,
        status=problem.status,
        code=problem.code,
        title=problem.title,
        param=problem.param,
        request_id=problem.request_id,
        retryable=problem.retryable,
        retry_after_s=retry_after_s,
        index=index,
        extra={name: value for name, value in (problem.model_extra or {}).items() if name not in _OWN_FIELDS},
    )


def _seconds(retry_after: str | None) -> float | None:
    # The header may also be a date; our server sends seconds, and a date is no reason to fail.
    try:
        return max(0.0, float(retry_after)) if retry_after else None
    except ValueError:
        return None
