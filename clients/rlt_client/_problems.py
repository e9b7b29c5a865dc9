"""Turn an answer that is not a success into the exception that says it; pure, no network."""

import json
import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

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
            retry_after_s=seconds_of(retry_after, now=datetime.now(tz=UTC)),
            body=_body(body),
        )
    retry_after_s = seconds_of(retry_after, now=datetime.now(tz=UTC))
    return from_problem(problem, retry_after_s=retry_after_s, body=_body(body))


def from_problem(
    problem: Problem, *, index: int | None = None, retry_after_s: float | None = None, body: object = None
) -> APIStatusError:
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
        body=problem.model_dump(mode="json") if body is None else body,
    )


def seconds_of(retry_after: str | None, *, now: datetime) -> float | None:
    """Read a Retry-After: seconds, or an HTTP date, which `now` is taken off; None for anything else."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            date = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        seconds = (date.replace(tzinfo=date.tzinfo or UTC) - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _body(body: bytes) -> object:
    text = body.decode("utf-8", errors="replace")
    try:
        return json.loads(text)
    except ValueError:
        return text
