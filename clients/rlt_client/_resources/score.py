"""`client.score`: let a student judge explanations."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from rlt_client import _problems
from rlt_client._api import Api, path_of
from rlt_client._resources.bodies import BATCH_ITEMS, body_of, chunks
from rlt_core.schemas.score import (
    ExplanationInput,
    RewardConfig,
    ScoreBatchResponse,
    ScoreInclude,
    ScoreRequest,
    ScoreResponse,
)
from rlt_core.schemas.server import BatchItemError


class ScoreOptions(TypedDict, total=False):
    """Fields of POST /v1/score that have a default; what is left out is the server's choice."""

    student: str
    teacher: str | None
    baseline: bool
    include: Sequence[ScoreInclude]
    reward: RewardConfig | Mapping[str, Any]


class Score:
    """Callable: `client.score(question=…, solution=…, explanations=["…"], baseline=True)`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def __call__(
        self,
        *,
        question: str,
        solution: str,
        explanations: Sequence[str | ExplanationInput | Mapping[str, Any]],
        **options: Unpack[ScoreOptions],
    ) -> ScoreResponse:
        """Score explanations by how likely they make the solution to a student."""
        return self.create({"question": question, "solution": solution, "explanations": explanations, **options})

    def create(self, request: ScoreRequest | Mapping[str, Any]) -> ScoreResponse:
        """Send a whole request."""
        return self._api.post(path_of("score"), into=ScoreResponse, body=body_of(request))

    def batch(self, requests: Sequence[ScoreRequest | Mapping[str, Any]]) -> list[ScoreResponse]:
        """Answer all, in order, 256 a call; raises the first failed item's APIStatusError, with its `index`."""
        answers: list[ScoreResponse] = []
        for start, items in chunks(requests, size=BATCH_ITEMS):
            body = {"items": [body_of(item) for item in items]}
            for item in self._api.post(path_of("score", "batch"), into=ScoreBatchResponse, body=body).data:
                if isinstance(item, BatchItemError):
                    raise _problems.from_problem(item.problem, index=start + item.index)
                answers.append(item)
        return answers
