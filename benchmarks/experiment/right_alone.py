"""Own the sparse arm's reward: being right by program, and nothing else."""

from collections.abc import Sequence

from benchmarks.experiment.equations import ends_at, equations_hold
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse
from rlt_core.schemas.score import ExplanationInput, ScoreRequest, ScoreResponse
from rlt_train.services import Services


class BeingRightAlone:
    """Services whose rewards are 1 where all of an explanation's equations hold and end at the solution, else 0."""

    def __init__(self, inner: Services) -> None:
        self._inner = inner

    @property
    def calls_at_once(self) -> int:
        """As many as those that are asked take."""
        return self._inner.calls_at_once

    def explain(self, requests: Sequence[ExplainRequest]) -> list[ExplainResponse]:
        """Sample explanations."""
        return self._inner.explain(requests)

    def publish(self, *, step: int, sha256: str) -> str:
        """Make the policy of a step callable."""
        return self._inner.publish(step=step, sha256=sha256)

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        """Judge by the student, then put the program's verdict in the reward's place."""
        return [
            answer.model_copy(
                update={
                    "scores": [
                        score.model_copy(update={"reward": float(_is_right(request, score.index))})
                        for score in answer.scores
                    ]
                }
            )
            for request, answer in zip(requests, self._inner.score(requests), strict=True)
        ]


def _is_right(request: ScoreRequest, index: int) -> bool:
    entry = request.explanations[index]
    text = entry.text if isinstance(entry, ExplanationInput) else entry
    return equations_hold(text) and ends_at(text, solution=request.solution)
