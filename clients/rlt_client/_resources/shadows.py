"""`client.shadows`: candidates that answer a sample of an alias's live traffic, unseen by callers."""

from rlt_client._api import Api, path_of
from rlt_core.schemas.shadows import Shadow, ShadowEnded
from rlt_core.schemas.teachers import Evaluation


class Shadows:
    """One candidate beside a teacher's alias; what both answer can become an evaluation."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def put(
        self,
        alias: str,
        *,
        version: str,
        share: float | None = None,
        max_in_flight: int | None = None,
        student: str | None = None,
    ) -> Shadow:
        """Let `version` answer a share of what `alias` is asked.

        Raises ConflictError where it serves already, UnprocessableEntityError where it cannot serve.
        """
        fields = {"version": version, "share": share, "max_in_flight": max_in_flight, "student": student}
        body = {name: value for name, value in fields.items() if value is not None}
        return self._api.call("PUT", _path(alias), into=Shadow, body=body)

    def get(self, alias: str) -> Shadow:
        """Read the candidate, and what became of the requests that were drawn."""
        return self._api.get(_path(alias), into=Shadow)

    def delete(self, alias: str) -> ShadowEnded:
        """End the shadow; pairs that no evaluation holds go with it."""
        return self._api.call("DELETE", _path(alias), into=ShadowEnded)

    def evaluate(self, alias: str) -> Evaluation:
        """Store what the pairs so far show; raises ConflictError below 2 questions."""
        return self._api.post(f"{_path(alias)}/evaluation", into=Evaluation)


def _path(alias: str) -> str:
    return path_of("aliases", "teacher", alias, "shadow")
