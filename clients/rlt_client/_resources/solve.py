"""`client.solve`: ask a student."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from rlt_client._calls import Call, Plan, ask, path_of
from rlt_client._errors import APIError
from rlt_client._methods import Awaiting, Blocking, call, plan
from rlt_client._resources.batches import AT_ONCE, answered, settled
from rlt_client._resources.bodies import body_of
from rlt_core.schemas.solve import SolveBatchResponse, SolveInclude, SolveRequest, SolveResponse

Request = SolveRequest | Mapping[str, Any]


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


class SolveCalls:
    """Callable: `client.solve(question=…, student="pupil@1", n=4)`."""

    @call
    def __call__(self, *, question: str, **options: Unpack[SolveOptions]) -> Call[SolveResponse]:
        """Let a student think a question through and solve it by itself."""
        return ask(path_of("solve"), into=SolveResponse, body=body_of({"question": question, **options}))

    @call
    def create(self, request: Request) -> Call[SolveResponse]:
        """Send a whole request."""
        return ask(path_of("solve"), into=SolveResponse, body=body_of(request))

    @plan
    def batch(self, requests: Sequence[Request], *, at_once: int = AT_ONCE) -> Plan[list[SolveResponse]]:
        """Answer all, in order, in calls of what the server takes, `at_once` of them side by side.

        Raises the first failed request's APIStatusError, with its `index`.
        """
        into, path = SolveBatchResponse, path_of("solve", "batch")
        return answered(path, into=into, answer=SolveResponse, requests=requests, at_once=at_once)

    @plan
    def settled(self, requests: Sequence[Request], *, at_once: int = AT_ONCE) -> Plan[list[SolveResponse | APIError]]:
        """Answer all, as `batch` does, with the APIError in the place of each that failed."""
        return settled(path_of("solve", "batch"), into=SolveBatchResponse, requests=requests, at_once=at_once)


class Solve(SolveCalls, Blocking):
    """Callable: `client.solve(question=…, student="pupil@1", n=4)`."""


class AsyncSolve(SolveCalls, Awaiting):
    """Callable: `await client.solve(question=…, student="pupil@1", n=4)`."""
