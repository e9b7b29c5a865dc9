"""`client.evaluations`: what versions came to, figure by figure and question by question, alone and side by side."""

from collections.abc import Sequence
from typing import Any

from rlt_client._calls import Call, Listing, by_offset, get, path_of
from rlt_client._methods import Awaiting, Blocking, call, every
from rlt_core.schemas.base import Page
from rlt_core.schemas.measured import AnswerRow, EvaluationComparison, ModelEvaluation
from rlt_core.schemas.teachers import Evaluation, EvaluationRow


class EvaluationCalls:
    """Held-out comparisons of two versions, and what an `evaluate` job measured of one."""

    @call
    def get(self, evaluation_id: str) -> Call[Evaluation]:
        """Read a comparison's figures with their intervals."""
        return get(path_of("evaluations", evaluation_id), into=Evaluation)

    @call
    def measured(self, evaluation_id: str) -> Call[ModelEvaluation]:
        """Read what an `evaluate` job measured of one version."""
        return get(path_of("evaluations", evaluation_id), into=ModelEvaluation)

    @call
    def rows(
        self, evaluation_id: str, *, offset: int | None = None, limit: int | None = None
    ) -> Call[Page[EvaluationRow]]:
        """Read a window of rows: each question as a teacher's version explained it, with its reward."""
        return _rows(evaluation_id, into=Page[EvaluationRow], offset=offset, limit=limit)

    @every
    def iter_rows(self, evaluation_id: str) -> Listing[EvaluationRow]:
        """Give every row of a teacher's evaluation."""
        return by_offset(lambda offset: _rows(evaluation_id, into=Page[EvaluationRow], offset=offset, limit=None))

    @call
    def answers(
        self, evaluation_id: str, *, offset: int | None = None, limit: int | None = None
    ) -> Call[Page[AnswerRow]]:
        """Read a window of rows: each answer of a student's version, with the verdict on it."""
        return _rows(evaluation_id, into=Page[AnswerRow], offset=offset, limit=limit)

    @every
    def iter_answers(self, evaluation_id: str) -> Listing[AnswerRow]:
        """Give every answer of a student's evaluation."""
        return by_offset(lambda offset: _rows(evaluation_id, into=Page[AnswerRow], offset=offset, limit=None))

    @call
    def compare(self, evaluations: Sequence[str]) -> Call[EvaluationComparison]:
        """Lay evaluations side by side, paired by question; each is an id, or a version (its newest evaluation)."""
        params = {"compare": ",".join(evaluations)}
        return get(path_of("evaluations"), into=EvaluationComparison, params=params)


class Evaluations(EvaluationCalls, Blocking):
    """Held-out comparisons of two versions, and what an `evaluate` job measured of one."""


class AsyncEvaluations(EvaluationCalls, Awaiting):
    """Evaluations, awaited."""


def _rows(evaluation_id: str, *, into: type[Any], offset: int | None, limit: int | None) -> Call[Any]:
    params = {"offset": offset, "limit": limit}
    return get(path_of("evaluations", evaluation_id, "rows"), into=into, params=params)
