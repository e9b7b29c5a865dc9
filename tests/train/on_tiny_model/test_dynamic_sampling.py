from collections.abc import Callable
from typing import Any

import pytest

from rlt_core.schemas.score import ScoreResponse
from rlt_core.schemas.trainer import ProgressEvent
from rlt_train.rl import run_rl

pytestmark = pytest.mark.training

Services = Callable[[Any], Any]


def flat_for(questions: set[str], services: Any) -> Callable[[ScoreResponse], ScoreResponse]:
    """Give all samples of some questions the same reward."""

    def spoil(answer: ScoreResponse) -> ScoreResponse:
        if services.scored[len(services.judged)].question in questions:
            answer = answer.model_copy(
                update={"scores": [score.model_copy(update={"reward": -1.0}) for score in answer.scores]}
            )
        services.judged.append(answer)
        return answer

    services.judged = []
    return spoil


def judged(world: Any, fake_services: Services, *, flat: set[str], **spec: Any) -> tuple[Any, Any, Any]:
    job = world.rl({"steps": 1, "seed": 3} | spec)
    services = fake_services(job)
    services.spoil_score = flat_for(flat, services)
    result = run_rl(world.context(job, services))
    metrics = next(event.metrics for event in world.events(job) if isinstance(event, ProgressEvent))
    return services, metrics, result


def test_a_question_whose_samples_are_all_worth_the_same_gives_way_to_another(
    world: Any, fake_services: Services
) -> None:
    plain, _, _ = judged(world, fake_services, flat=set())
    first, second = (request.question for request in plain.explained)
    services, metrics, result = judged(world, fake_services, flat={first}, dynamic_sampling=2)
    asked = [request.question for request in services.explained]
    assert asked[:2] == [first, second]
    assert len(asked) == 3
    assert asked[2] not in (first, second)
    assert metrics["groups_without_spread"] == 0.0
    assert result.cost["replaced_groups"] == 1


def test_it_is_left_alone_unless_that_is_asked_for(world: Any, fake_services: Services) -> None:
    plain, _, _ = judged(world, fake_services, flat=set())
    services, metrics, result = judged(world, fake_services, flat={plain.explained[0].question})
    assert len(services.explained) == 2
    assert metrics["groups_without_spread"] == 0.5
    assert result.cost["replaced_groups"] == 0


def test_it_ends_after_its_rounds_and_where_no_question_is_left(world: Any, fake_services: Services) -> None:
    everything = {f"{n} + 1?" for n in range(8)}
    services, metrics, result = judged(world, fake_services, flat=everything, dynamic_sampling=1)
    assert len(services.explained) == 4
    assert metrics["groups_without_spread"] == 1.0
    services, _, result = judged(world, fake_services, flat=everything, dynamic_sampling=16)
    asked = [request.question for request in services.explained]
    assert len(asked) == len(set(asked)) == 8
    assert result.cost["replaced_groups"] == 6
