"""`client.explain`: ask a teacher."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from rlt_client import _problems
from rlt_client._api import Api, path_of
from rlt_client._resources.bodies import BATCH_ITEMS, body_of, chunks
from rlt_core.schemas.explain import ExplainBatchResponse, ExplainInclude, ExplainRequest, ExplainResponse
from rlt_core.schemas.server import BatchItemError


class ExplainOptions(TypedDict, total=False):
    """Fields of POST /v1/explain that have a default; what is left out is the server's choice."""

    teacher: str
    n: int
    temperature: float
    top_p: float
    max_tokens: int
    seed: int | None
    include: Sequence[ExplainInclude]


class Explain:
    """Callable: `client.explain(question=…, solution=…, teacher="algebra@3", n=4)`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def __call__(self, *, question: str, solution: str, **options: Unpack[ExplainOptions]) -> ExplainResponse:
        """Let a teacher explain how the question leads to the solution."""
        return self.create({"question": question, "solution": solution, **options})

    def create(self, request: ExplainRequest | Mapping[str, Any]) -> ExplainResponse:
        """Send a whole request."""
        return self._api.post(path_of("explain"), into=ExplainResponse, body=body_of(request))

    def batch(self, requests: Sequence[ExplainRequest | Mapping[str, Any]]) -> list[ExplainResponse]:
        """Answer all, in order, 256 a call; raises the first failed item's APIStatusError, with its `index`."""
        answers: list[ExplainResponse] = []
        for start, items in chunks(requests, size=BATCH_ITEMS):
            body = {"items": [body_of(item) for item in items]}
            for item in self._api.post(path_of("explain", "batch"), into=ExplainBatchResponse, body=body).data:
                if isinstance(item, BatchItemError):
                    raise _problems.from_problem(item.problem, index=start + item.index)
                answers.append(item)
        return answers
