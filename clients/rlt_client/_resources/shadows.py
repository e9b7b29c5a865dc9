"""`client.shadows`: candidates that answer a sample of an alias's live traffic, unseen by callers."""

from rlt_client._calls import Call, get, path_of, write
from rlt_client._methods import Awaiting, Blocking, call
from rlt_core.schemas.shadows import Shadow, ShadowEnded
from rlt_core.schemas.teachers import Evaluation


class ShadowCalls:
    """One candidate beside a teacher's alias; what both answer can become an evaluation."""

    @call
    def put(
        self,
        alias: str,
        *,
        version: str,
        share: float | None = None,
        max_in_flight: int | None = None,
        student: str | None = None,
    ) -> Call[Shadow]:
        """Let `version` answer a share of what `alias` is asked.

        Raises ConflictError where it serves already, UnprocessableEntityError where it cannot serve.
        """
        fields = {"version": version, "share": share, "max_in_flight": max_in_flight, "student": student}
        body = {name: value for name, value in fields.items() if value is not None}
        return write("PUT", _path(alias), into=Shadow, body=body)

    @call
    def get(self, alias: str) -> Call[Shadow]:
        """Read the candidate, and what became of the requests that were drawn."""
        return get(_path(alias), into=Shadow)

    @call
    def delete(self, alias: str) -> Call[ShadowEnded]:
        """End the shadow; pairs that no evaluation holds go with it."""
        return write("DELETE", _path(alias), into=ShadowEnded)

    @call
    def evaluate(self, alias: str) -> Call[Evaluation]:
        """Store what the pairs so far show; raises ConflictError below 2 questions."""
        return write("POST", f"{_path(alias)}/evaluation", into=Evaluation)


class Shadows(ShadowCalls, Blocking):
    """One candidate beside a teacher's alias; what both answer can become an evaluation."""


class AsyncShadows(ShadowCalls, Awaiting):
    """Shadows, awaited."""


def _path(alias: str) -> str:
    return path_of("aliases", "teacher", alias, "shadow")
