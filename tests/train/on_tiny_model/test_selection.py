from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rlt_core.schemas.score import ScoreResponse
from rlt_core.schemas.trainer import CheckpointEvent, EvaluationEvent, LogEvent, ProgressEvent
from rlt_train.errors import InvalidTrainingDataError
from rlt_train.rl import run_rl
from tests.train.on_tiny_model.test_resume import KilledError, assert_same, kill_when, last_states, next_attempt

pytestmark = pytest.mark.training

Services = Callable[[Any], Any]
SPEC = {"steps": 6, "save_every": 2, "learning_rate": 0.05, "eval_every": 1, "splits": {"select": 0.25}}
WORTH = {1: -0.5, 2: -0.2, 3: -0.4, 4: -0.4, 5: -0.3, 6: -0.9, 7: -0.2}
"""What each step's policy is worth on held-out questions; the seventh is the second, published once more."""


def judge(services: Any) -> Callable[[ScoreResponse], ScoreResponse]:
    """Judge single answers by the policy's step: those of training come in groups."""

    def spoil(answer: ScoreResponse) -> ScoreResponse:
        if len(answer.scores) > 1:
            return answer
        worth = WORTH[services.published[-1][0]]
        return answer.model_copy(update={"scores": [answer.scores[0].model_copy(update={"reward": worth})]})

    return spoil


def run(world: Any, fake_services: Services, job: Any) -> tuple[Any, Any]:
    services = fake_services(job)
    services.spoil_score = judge(services)
    return run_rl(world.context(job, services)), services


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter_model.safetensors")


def test_the_result_is_the_policy_that_was_best_on_the_select_questions(world: Any, fake_services: Services) -> None:
    job = world.rl(SPEC)
    result, services = run(world, fake_services, job)
    rollouts = Path(job.attempt_dir) / "rollouts"
    made, best, last = weights(Path(result.adapter_dir)), weights(rollouts / "2"), weights(rollouts / "6")
    assert all(torch.equal(made[name], best[name]) for name in best)
    assert not all(torch.equal(made[name], last[name]) for name in last)
    assert services.published[-1] == (7, result.sha256)
    told = [event.metrics["select_reward"] for event in world.events(job) if isinstance(event, ProgressEvent)]
    assert told == pytest.approx([WORTH[step] for step in range(1, 7)])
    assert result.cost["select_s"] > 0.0


def test_the_select_questions_are_not_trained_on_and_have_the_same_seeds_every_time(
    world: Any, fake_services: Services
) -> None:
    job = world.rl(SPEC)
    _, services = run(world, fake_services, job)
    looked = [(request.question, request.seed) for request in services.explained if request.n == 1]
    trained = {request.question for request in services.explained if request.n > 1}
    assert len(looked) == 12
    assert looked[:2] == looked[2:4] == looked[10:]
    assert trained.isdisjoint({question for question, _ in looked})


def test_measuring_changes_nothing_of_what_is_trained(world: Any, fake_services: Services) -> None:
    looking, blind = world.rl(SPEC), world.rl(SPEC | {"eval_every": 0})
    _, services = run(world, fake_services, looking)
    _, plain = run(world, fake_services, blind)
    assert services.published[:7] == plain.published


def test_training_ends_early_where_nothing_gets_better(world: Any, fake_services: Services) -> None:
    job = world.rl(SPEC | {"patience": 2, "save_every": 0})
    result, services = run(world, fake_services, job)
    assert result.steps == 4
    assert [step for step, _ in services.published] == [0, 1, 2, 3, 4, 5]  # the last is the best, once more
    assert any(
        "stops early after step 4" in event.message for event in world.events(job) if isinstance(event, LogEvent)
    )
    assert [event.step for event in world.events(job) if isinstance(event, CheckpointEvent)] == [4]


def test_what_is_measured_seldom_is_measured_at_the_end_too(world: Any, fake_services: Services) -> None:
    job = world.rl(SPEC | {"eval_every": 4})
    run(world, fake_services, job)
    told = {
        event.step
        for event in world.events(job)
        if isinstance(event, ProgressEvent) and "select_reward" in event.metrics
    }
    assert told == {4, 6}


def test_the_gate_looks_at_the_policy_that_is_the_result(world: Any, fake_services: Services) -> None:
    job = world.rl(SPEC | {"splits": {"select": 0.25, "gate": 0.25}}, served_version="tiny@0")
    services = fake_services(job)
    services.spoil_score = judge(services)
    run_rl(world.context(job, services))
    event = next(event for event in world.events(job) if isinstance(event, EvaluationEvent))
    assert event.after.endswith("@7")


@pytest.mark.parametrize("killed_at", [3, 5])
def test_a_killed_run_remembers_its_best_policy(world: Any, fake_services: Services, killed_at: int) -> None:
    whole = world.rl(SPEC)
    expected, _ = run(world, fake_services, whole)
    killed = world.rl(SPEC)
    services = fake_services(killed)
    services.spoil_score = judge(services)
    context = world.context(killed, services)
    kill_when(context, lambda event: isinstance(event, ProgressEvent) and event.step == killed_at)
    with pytest.raises(KilledError):
        run_rl(context)
    again = next_attempt(world, [killed], world.rl(SPEC))
    result, _ = run(world, fake_services, again)
    assert result.sha256 == expected.sha256
    assert_same(last_states(again, 6), last_states(whole, 6))


@pytest.mark.parametrize(("more", "last"), [({}, 6), ({"patience": 2}, 4)])
def test_a_run_that_was_killed_after_its_last_checkpoint_remembers_its_best_policy_too(
    world: Any, fake_services: Services, more: dict[str, Any], last: int
) -> None:
    whole = world.rl(SPEC | more)
    expected, _ = run(world, fake_services, whole)
    killed = world.rl(SPEC | more)
    services = fake_services(killed)
    services.spoil_score = judge(services)
    context = world.context(killed, services)
    kill_when(context, lambda event: isinstance(event, CheckpointEvent) and event.step == last)
    with pytest.raises(KilledError):
        run_rl(context)
    again = next_attempt(world, [killed], world.rl(SPEC | more))
    result, _ = run(world, fake_services, again)
    assert (result.sha256, result.steps) == (expected.sha256, last)


def test_measuring_without_questions_is_refused(world: Any, fake_services: Services) -> None:
    job = world.rl({"eval_every": 1})
    with pytest.raises(InvalidTrainingDataError, match="none is held out"):
        run_rl(world.context(job, fake_services(job)))
