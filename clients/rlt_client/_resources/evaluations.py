"""`client.evaluations`: what versions came to, figure by figure and question by question, alone and side by side."""

from collections.abc import Sequence

from rlt_client._api import Api, path_of
from rlt_core.schemas.base import Page
from rlt_core.schemas.measured import AnswerRow, EvaluationComparison, ModelEvaluation
from rlt_core.schemas.teachers import Evaluation, EvaluationRow


class Evaluations:
    """Held-out comparisons of two versions, and what an `evaluate` job measured of one."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def get(self, evaluation_id: str) -> Evaluation:
        """Read a comparison's figures with their intervals."""
        return self._api.get(path_of("evaluations", evaluation_id), into=Evaluation)

    def measured(self, evaluation_id: str) -> ModelEvaluation:
        """Read what an `evaluate` job measured of one version."""
        return self._api.get(path_of("evaluations", evaluation_id), into=ModelEvaluation)

    def rows(self, evaluation_id: str, *, offset: int | None = None, limit: int | None = None) -> Page[EvaluationRow]:
        """Read a window of rows: each question as a teacher's version explained it, with its reward."""
        params = {"offset": offset, "limit": limit}
        return self._api.get(path_of("evaluations", evaluation_id, "rows"), into=Page[EvaluationRow], params=params)

    def answers(self, evaluation_id: str, *, offset: int | None = None, limit: int | None = None) -> Page[AnswerRow]:
        """Read a window of rows: each answer of a student's version, with the verdict on it."""
        params = {"offset": offset, "limit": limit}
        return self._api.get(path_of("evaluations", evaluation_id, "rows"), into=Page[AnswerRow], params=params)

    def compare(self, evaluations: Sequence[str]) -> EvaluationComparison:
        """Lay evaluations side by side, paired by question; each is an id, or a version (its newest evaluation)."""
        return self._api.get(
            path_of("evaluations"), into=EvaluationComparison, params={"compare": ",".join(evaluations)}
        )
