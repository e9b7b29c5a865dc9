"""Own the trainer's view of the world: explain, score, publish. Nothing else is reachable from training."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

import httpx

from rlt_client import Client
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse
from rlt_core.schemas.jobs import RolloutPublished, RolloutPublishRequest
from rlt_core.schemas.score import ScoreRequest, ScoreResponse
from rlt_train.errors import RolloutFailedError
from rlt_train.lifeline import StopFlag
from rlt_train.patience import Patience

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")

BATCH_ITEMS = 64
"""Requests in one call; a group of long completions with ids is large, and a body has a limit."""


class Services(Protocol):
    """What a trainer asks of the outside; each call answers for every item or raises."""

    def explain(self, requests: Sequence[ExplainRequest]) -> list[ExplainResponse]:
        """Sample explanations."""
        ...

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        """Judge explanations."""
        ...

    def publish(self, *, step: int, sha256: str) -> str:
        """Make the policy of a step callable; gives the exact version name."""
        ...


class HttpServices:
    """The real one: the SDK for /explain and /score, one call of its own for rollouts."""

    def __init__(self, *, base_url: str, job_id: str, attempt: int) -> None:
        self._base_url = base_url
        self._job_id = job_id
        self._attempt = attempt
        self._client = Client(base_url=base_url)

    def explain(self, requests: Sequence[ExplainRequest]) -> list[ExplainResponse]:
        """Sample explanations, in as few calls as the server takes."""
        return _in_batches(requests, self._client.explain.batch)

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        """Judge explanations, in as few calls as the server takes."""
        return _in_batches(requests, self._client.score.batch)

    def publish(self, *, step: int, sha256: str) -> str:
        """Tell the control service that the policy of `step` lies whole in this attempt's folder."""
        raise NotImplementedError


class PatientServices:
    """Any Services, asked again when a call fails for a reason that passes."""

    def __init__(self, inner: Services, *, patience: Patience, stop: StopFlag) -> None:
        self._inner = inner
        self._patience = patience
        self._stop = stop

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

    def publish(self, *, step: int, sha256: str) -> str:
        """Publish a policy; repeatable, since step and hash name it."""
        return self._call(lambda: self._inner.publish(step=step, sha256=sha256), what=f"publishing step {step}")

    def _call(self, action: Callable[[], AnswerT], *, what: str) -> AnswerT:
        def waiting() -> AnswerT:
            with self._stop.waiting():
                return action()

        return self._patience.call(waiting, what=what)


def _in_batches(items: Sequence[ItemT], call: Callable[[Sequence[ItemT]], list[AnswerT]]) -> list[AnswerT]:
    answers: list[AnswerT] = []
    for start in range(0, len(items), BATCH_ITEMS):
        answers += call(items[start : start + BATCH_ITEMS])
    return answers
