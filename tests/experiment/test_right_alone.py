from collections.abc import Sequence
from datetime import UTC, datetime

from benchmarks.experiment.right_alone import BeingRightAlone
from rlt_core.schemas.base import EngineRef, VersionRef
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse
from rlt_core.schemas.score import (
    ExplanationInput,
    RewardConfig,
    Score,
    ScoreRequest,
    ScoreResponse,
    ScoreUsage,
    SolutionScore,
)
from rlt_core.schemas.solve import SolveRequest, SolveResponse

SOLUTION = SolutionScore(mean=-1.0, min=-2.0, sum=-3.0, tokens=3)


class OneMark:
    """Services that give every explanation the same score."""

    calls_at_once = 3

    def explain(self, requests: Sequence[ExplainRequest]) -> list[ExplainResponse]:
        raise NotImplementedError

    def solve(self, requests: Sequence[SolveRequest]) -> list[SolveResponse]:
        raise NotImplementedError

    def publish(self, *, step: int, sha256: str) -> str:
        return f"rollout@{step}"

    def score(self, requests: Sequence[ScoreRequest]) -> list[ScoreResponse]:
        return [
            ScoreResponse(
                id="score_1",
                created_at=datetime(2030, 1, 1, tzinfo=UTC),
                student=VersionRef(version="s@0"),
                format="rlt@1",
                engine=EngineRef(name="fake", version="1"),
                terms=[],
                reward=RewardConfig(),
                scores=[
                    Score(
                        index=index, reward=-7.0, r_ss=-1.0, r_kl=6.0, format=0.0, well_formed=True, solution=SOLUTION
                    )
                    for index in range(len(request.explanations))
                ],
                usage=ScoreUsage(prompt_tokens=1),
            )
            for request in requests
        ]


def test_only_true_equations_that_end_at_the_solution_are_rewarded_and_the_parts_stay() -> None:
    texts = ["2 + 3 = 5. 5 - 1 = 4.", "2 + 3 = 6. 6 - 2 = 4.", "2 + 3 = 5.", "It is 4."]
    request = ScoreRequest(
        question="What is 2 + 3 - 1?",
        solution="The answer is 4.",
        explanations=[ExplanationInput(text=texts[0]), *texts[1:]],
    )
    services = BeingRightAlone(OneMark())
    (answer,) = services.score([request])
    assert [score.reward for score in answer.scores] == [1.0, 0.0, 0.0, 0.0]
    assert {score.r_ss for score in answer.scores} == {-1.0}
    assert (services.calls_at_once, services.publish(step=2, sha256="")) == (3, "rollout@2")
