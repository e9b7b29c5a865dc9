"""Own which texts can stand in a path: whatever has another form names nothing that exists, so it is a 404."""

import re
from collections.abc import Callable

from rlt_core.errors import NotFoundError
from rlt_core.schemas.base import NAME_PATTERN

JOB = r"job_[a-z0-9]{16,32}"
DATASET = r"ds_[a-z0-9]{16,32}"
EVALUATION = r"eval_[a-z0-9]{16,32}"
NUMBER = r"(0|[1-9][0-9]{0,8})"
FORMAT = r"[a-z0-9][a-z0-9-]{0,62}@[1-9][0-9]{0,8}(\+folded)?"
NAME = NAME_PATTERN.strip("^$")


def known_form(pattern: str, *, kind: str) -> Callable[[str], str]:
    """Make a check that passes what matches as a whole; raises NotFoundError for the rest."""

    def check(value: str) -> str:
        # fullmatch, because `$` also matches before a line feed at the end
        if re.fullmatch(pattern, value) is None:
            raise NotFoundError(f"there is no {kind} {value[:80]!r}")
        return value

    return check
