"""Own the trainer's view of the world: explain, score, publish. Nothing else is reachable from training."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from rlt_client import Client
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse
from rlt_core.schemas.rollouts import RolloutPublishRequest
from rlt_core.schemas.score import ExplanationInput, ScoreRequest, ScoreResponse
from rlt_core.schemas.solve import SolveRequest, SolveResponse
from rlt_train.errors import RolloutFailedError
from rlt_train.lifeline import StopFlag
from rlt_train.patience import Patience

AnswerT = TypeVar("AnswerT")

SCORE_CALL_TOKENS = 20_000
"""Completion tokens in one call to /score at most: with their log-probs about half of the smallest body limit."""


CALLS_AT_ONCE = 16
"""Calls of one trainer that may be open together. They are one flow: before the engine they take one caller's turns."""


class Services(Protocol):
    """What a trainer asks of the outside; each call answers for every item or raises."""

    @property
    def calls_at_once(self) -> int:
        """How many calls may be open together, each in a thread of its own; 1 where they must not."""
        ...

    def explain(self, requests: Sequence[ExplainRequest]) -> list[ExplainResponse]:
        """Sample explanations."""
        ...

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        """Judge explanations."""
        ...

    def solve(self, requests: Sequence[SolveRequest]) -> list[SolveResponse]:
        """Have a student solve questions."""
        ...

    def publish(self, *, step: int, sha256: str) -> str:
        """Make the policy of a step callable; gives the exact version name."""
        ...


class HttpServices:
    """The real one: the SDK for /explain and /score, one call of its own for rollouts."""

    def __init__(self, client: Client, *, job_id: str, attempt: int) -> None:
        self._client = client
        self._job_id = job_id
        self._attempt = attempt

    @property
    def calls_at_once(self) -> int:
        """A client may be shared by threads."""
        return CALLS_AT_ONCE

    def explain(self, requests: Sequence[ExplainRequest]) -> list[ExplainResponse]:
        """Sample explanations, in as few calls as the server takes."""
        return self._client.explain.batch(requests)

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        """Judge explanations, in as few calls as a body may be large."""
        return [answer for call in score_calls(requests) for answer in self._client.score.batch(call)]

    def solve(self, requests: Sequence[SolveRequest]) -> list[SolveResponse]:
        """Have questions solved, in as few calls as the server takes."""
        return self._client.solve.batch(requests)

    def publish(self, *, step: int, sha256: str) -> str:
        """Tell the control service that the policy of `step` lies whole in this attempt's folder."""
        request = RolloutPublishRequest(attempt=self._attempt, step=step, sha256=sha256)
        return self._client.publish_rollout(self._job_id, request).version


class PatientServices:
    """Any Services, asked again when a call fails for a reason that passes."""

    def __init__(self, inner: Services, *, patience: Patience, stop: StopFlag) -> None:
        self._inner = inner
        self._patience = patience
        self._stop = stop

    @property
    def calls_at_once(self) -> int:
        """As many as those that are asked take."""
        return self._inner.calls_at_once

    def explain(self, requests: Sequence[ExplainRequest]) -> list[ExplainResponse]:
        """Sample explanations; waits for an engine that is away."""

        def explain() -> list[ExplainResponse]:
            answers = self._inner.explain(requests)
            if any(item.finish_reason == "abort" for answer in answers for item in answer.explanations):
                raise RolloutFailedError("the engine aborted a generation")
            return answers

        return self._call(explain, what="explaining")

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        """Judge explanations; waits for an engine that is away."""
        return self._call(lambda: self._inner.score(requests), what="scoring")

    def solve(self, requests: Sequence[SolveRequest]) -> list[SolveResponse]:
        """Have questions solved; waits for an engine that is away."""

        def solve() -> list[SolveResponse]:
            answers = self._inner.solve(requests)
            if any(item.finish_reason == "abort" for answer in answers for item in answer.solutions):
                raise RolloutFailedError("the engine aborted a generation")
            return answers

        return self._call(solve, what="solving")

    def publish(self, *, step: int, sha256: str) -> str:
        """Publish a policy; repeatable, since step and hash name it."""
        return self._call(lambda: self._inner.publish(step=step, sha256=sha256), what=f"publishing step {step}")

    def _call(self, action: Callable[[], AnswerT], *, what: str) -> AnswerT:
        def waiting() -> AnswerT:
            with self._stop.waiting():
                return action()

        return self._patience.call(waiting, what=what)


def score_calls(requests: Sequence[ScoreRequest]) -> list[list[ScoreRequest]]:
    """Cut requests into calls of at most SCORE_CALL_TOKENS; a larger one goes alone."""
    calls: list[list[ScoreRequest]] = []
    room = 0
    for request in requests:
        size = sum(_completion_tokens(entry) for entry in request.explanations)
        if not calls or size > room:
            calls.append([])
            room = SCORE_CALL_TOKENS
        calls[-1].append(request)
        room -= size
    return calls


def _completion_tokens(entry: str | ExplanationInput) -> int:
    if isinstance(entry, str) or entry.tokens is None:
        return 0
    return len(entry.tokens.completion_token_ids)
