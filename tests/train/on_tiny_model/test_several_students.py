from collections.abc import Callable
from typing import Any

import pytest

from rlt_core.schemas.score import KlScore, Score, ScoreResponse, SolutionScore
from rlt_core.schemas.trainer import EvaluationEvent, ProgressEvent
from rlt_train.rl import run_rl
from rlt_train.several_students import combined

pytestmark = pytest.mark.training

Services = Callable[[Any], Any]
FIRST, SECOND = "tiny-student@0", "strict-student@3"


def a_score(reward: float, *, uplift: float | None = 0.5) -> Score:
    return Score(
        index=2,
        reward=reward,
        r_ss=reward + 1.0,
        r_kl=1.0,
        format=0.0,
        well_formed=True,
        uplift=uplift,
        solution=SolutionScore(mean=reward, min=2.0 * reward, sum=3.0 * reward, tokens=3),
        kl=KlScore(mean=-reward, max=-2.0 * reward, tokens=7),
    )


def test_the_mean_is_of_the_reward_and_of_each_part() -> None:
    found = combined([a_score(-1.0, uplift=0.0), a_score(-3.0, uplift=1.0)], reduction="mean")
    assert (found.reward, found.r_ss, found.r_kl, found.uplift) == (-2.0, -1.0, 1.0, 0.5)
    assert found.reward == found.r_ss - found.r_kl + found.format
    assert (found.solution.mean, found.solution.min, found.solution.sum) == (-2.0, -4.0, -6.0)
    assert found.kl == KlScore(mean=2.0, max=4.0, tokens=7)
    assert found.index == 2


def test_the_worst_is_the_whole_score_of_who_understands_least() -> None:
    scores = [a_score(-1.0), a_score(-3.0), a_score(-2.0)]
    assert combined(scores, reduction="worst") == scores[1]


def test_one_student_is_one_score() -> None:
    assert combined([a_score(-1.0, uplift=None)], reduction="mean") == a_score(-1.0, uplift=None)


def stricter(answer: ScoreResponse) -> ScoreResponse:
    """Let the second student take 2 off every second reward, and 1 off the others."""
    if answer.student.version != SECOND:
        return answer
    scores = [score.model_copy(update={"reward": score.reward - 1.0 - score.index % 2}) for score in answer.scores]
    return answer.model_copy(update={"scores": scores})


@pytest.mark.parametrize(("reduction", "lower_by"), [("mean", 0.75), ("worst", 1.5)])
def test_all_students_judge_every_explanation(
    world: Any, fake_services: Services, reduction: str, lower_by: float
) -> None:
    rewards: list[float] = []
    for others in ([], [SECOND]):
        job = world.rl({"steps": 1, "student_reduction": reduction}, other_student_versions=others)
        services = fake_services(job)
        services.spoil_score = stricter
        run_rl(world.context(job, services))
        rewards += [e.metrics["reward"] for e in world.events(job) if isinstance(e, ProgressEvent)]
    assert rewards[0] - rewards[1] == pytest.approx(lower_by)
    assert [request.student for request in services.scored] == [FIRST, SECOND] * 2  # a question at a time


def test_a_baseline_is_each_student_s_own(world: Any, fake_services: Services) -> None:
    job = world.rl({"steps": 8}, other_student_versions=[SECOND])
    services = fake_services(job)
    run_rl(world.context(job, services))
    asked = [(request.student, request.question) for request in services.scored if request.baseline]
    assert len(asked) == len(set(asked)) == 16


def test_the_first_student_alone_judges_at_the_gate(world: Any, fake_services: Services) -> None:
    job = world.rl({"steps": 1, "splits": {"gate": 0.25}}, served_version="tiny@0", other_student_versions=[SECOND])
    services = fake_services(job)
    run_rl(world.context(job, services))
    judged = [request.student for request in services.scored if len(request.explanations) == 1]
    assert judged == [FIRST] * 4
    event = next(event for event in world.events(job) if isinstance(event, EvaluationEvent))
    assert event.student == FIRST
