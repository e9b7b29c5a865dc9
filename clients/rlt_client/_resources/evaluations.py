"""`client.evaluations`: what the gate compared, figure by figure and question by question."""

from rlt_client._api import Api, path_of
from rlt_core.schemas.base import Page
from rlt_core.schemas.teachers import Evaluation, EvaluationRow


class Evaluations:
    """Held-out comparisons of two versions."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def get(self, evaluation_id: str) -> Evaluation:
        """Read the figures with their intervals."""
        return self._api.get(path_of("evaluations", evaluation_id), into=Evaluation)

    def rows(self, evaluation_id: str, *, offset: int | None = None, limit: int | None = None) -> Page[EvaluationRow]:
        """Read a window of rows: each question as each of the two versions answered it."""
        params = {"offset": offset, "limit": limit}
        return self._api.get(path_of("evaluations", evaluation_id, "rows"), into=Page[EvaluationRow], params=params)
