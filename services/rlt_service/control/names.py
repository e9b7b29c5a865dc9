"""Own which texts can stand in a path: whatever has another form names nothing that exists, so it is a 404."""

import re
from collections.abc import Callable

from pydantic import WithJsonSchema

from rlt_core.errors import NotFoundError
from rlt_core.schemas.base import NAME_PATTERN

JOB = r"job_[a-z0-9]{16,32}"
DATASET = r"ds_[a-z0-9]{16,32}"
EVALUATION = r"eval_[a-z0-9]{16,32}"
KEY = r"[0-9a-f]{12}"
NUMBER = r"(0|[1-9][0-9]{0,8})"
FORMAT = r"[a-z0-9][a-z0-9-]{0,62}@[1-9][0-9]{0,8}(\+folded)?"
NAME = NAME_PATTERN.strip("^$")
ROLE = r"teacher|student"


def known_form(pattern: str, *, kind: str) -> Callable[[str], str]:
    """Make a check that passes what matches as a whole; raises NotFoundError for the rest."""

    def check(value: str) -> str:
        # fullmatch, because `$` also matches before a line feed at the end
        if re.fullmatch(pattern, value) is None:
            raise NotFoundError(f"there is no {kind} {value[:80]!r}")
        return value

    return check


def described(pattern: str) -> WithJsonSchema:
    """Say the form in the contract, where a refusal would otherwise be the first that a caller hears of it."""
    return WithJsonSchema({"type": "string", "pattern": f"^({pattern})$"})
