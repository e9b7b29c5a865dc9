"""`client.solve`: ask a student."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from rlt_client import _problems
from rlt_client._api import Api, path_of
from rlt_client._resources.bodies import BATCH_ITEMS, body_of, chunks
from rlt_core.schemas.server import BatchItemError
from rlt_core.schemas.solve import SolveBatchResponse, SolveInclude, SolveRequest, SolveResponse


class SolveOptions(TypedDict, total=False):
    """Fields of POST /v1/solve that have a default; what is left out is the server's choice."""

    student: str
    n: int
    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    seed: int | None
    include: list[SolveInclude]


class Solve:
    """Callable: `client.solve(question=…, student="pupil@1", n=4)`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def __call__(self, *, question: str, **options: Unpack[SolveOptions]) -> SolveResponse:
        """Let a student think a question through and solve it by itself."""
        return self.create({"question": question, **options})

    def create(self, request: SolveRequest | Mapping[str, Any]) -> SolveResponse:
        """Send a whole request."""
        return self._api.post(path_of("solve"), into=SolveResponse, body=body_of(request))

    def batch(self, requests: Sequence[SolveRequest | Mapping[str, Any]]) -> list[SolveResponse]:
        """Answer all, in order, 256 a call; raises the first failed item's APIStatusError, with its `index`."""
        answers: list[SolveResponse] = []
        for start, items in chunks(requests, size=BATCH_ITEMS):
            body = {"items": [body_of(item) for item in items]}
            for item in self._api.post(path_of("solve", "batch"), into=SolveBatchResponse, body=body).data:
                if isinstance(item, BatchItemError):
                    raise _problems.from_problem(item.problem, index=start + item.index)
                answers.append(item)
        return answers
