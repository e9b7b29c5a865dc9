"""`client.score`: let a student judge explanations."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from rlt_client._calls import Call, Plan, ask, path_of
from rlt_client._errors import APIError
from rlt_client._methods import Awaiting, Blocking, call, plan
from rlt_client._resources.batches import AT_ONCE, answered, settled
from rlt_client._resources.bodies import body_of
from rlt_core.schemas.score import (
    ExplanationInput,
    RewardConfig,
    ScoreBatchResponse,
    ScoreInclude,
    ScoreRequest,
    ScoreResponse,
)

Request = ScoreRequest | Mapping[str, Any]


class ScoreOptions(TypedDict, total=False):
    """Fields of POST /v1/score that have a default; what is left out is the server's choice."""

    student: str
    teacher: str | None
    baseline: bool
    include: Sequence[ScoreInclude]
    reward: RewardConfig | Mapping[str, Any]


class ScoreCalls:
    """Callable: `client.score(question=…, solution=…, explanations=["…"], baseline=True)`."""

    @call
    def __call__(
        self,
        *,
        question: str,
        solution: str,
        explanations: Sequence[str | ExplanationInput | Mapping[str, Any]],
        **options: Unpack[ScoreOptions],
    ) -> Call[ScoreResponse]:
        """Score explanations by how likely they make the solution to a student."""
        body = body_of({"question": question, "solution": solution, "explanations": explanations, **options})
        return ask(path_of("score"), into=ScoreResponse, body=body)

    @call
    def create(self, request: Request) -> Call[ScoreResponse]:
        """Send a whole request."""
        return ask(path_of("score"), into=ScoreResponse, body=body_of(request))

    @plan
    def batch(self, requests: Sequence[Request], *, at_once: int = AT_ONCE) -> Plan[list[ScoreResponse]]:
        """Answer all, in order, in calls of what the server takes, `at_once` of them side by side.

        Raises the first failed request's APIStatusError, with its `index`.
        """
        into, path = ScoreBatchResponse, path_of("score", "batch")
        return answered(path, into=into, answer=ScoreResponse, requests=requests, at_once=at_once)

    @plan
    def settled(self, requests: Sequence[Request], *, at_once: int = AT_ONCE) -> Plan[list[ScoreResponse | APIError]]:
        """Answer all, as `batch` does, with the APIError in the place of each that failed."""
        return settled(path_of("score", "batch"), into=ScoreBatchResponse, requests=requests, at_once=at_once)


class Score(ScoreCalls, Blocking):
    """Callable: `client.score(question=…, solution=…, explanations=["…"], baseline=True)`."""


class AsyncScore(ScoreCalls, Awaiting):
    """Callable: `await client.score(question=…, solution=…, explanations=["…"], baseline=True)`."""
