"""Own the headers that say which versions made an answer, for proxies and logs that do not read bodies."""

from collections.abc import Sequence

from starlette.responses import Response

TEACHER = "RLT-Teacher-Version"
STUDENT = "RLT-Student-Version"


def stamp(response: Response, *, teachers: Sequence[str], students: Sequence[str]) -> None:
    """Set the headers; several versions (in a batch) stand each once, in order of appearance."""
    for name, versions in ((TEACHER, teachers), (STUDENT, students)):
        if versions:
            response.headers[name] = ", ".join(dict.fromkeys(versions))
