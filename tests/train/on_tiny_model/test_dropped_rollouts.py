"""Rollouts that fail for good, on a service that fails chosen requests: left out and counted, never a reward of 0."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from rlt_core.errors import ScoringError
from rlt_core.schemas.explain import ExplainResponse
from rlt_core.schemas.score import ScoreResponse
from rlt_core.schemas.trainer import LogEvent, ProgressEvent
from rlt_train.errors import RolloutsDroppedError
from rlt_train.grpo import made_up_for
from rlt_train.importance import Mismatch
from rlt_train.rl import run_rl
from rlt_train.services import PatientServices
from tests.support.patience import Clock

pytestmark = pytest.mark.training

Services = Callable[[Any], Any]


def metrics_of(world: Any, job: Any) -> list[dict[str, float]]:
    return [event.metrics for event in world.events(job) if isinstance(event, ProgressEvent)]


def warnings_of(world: Any, job: Any) -> list[str]:
    return [event.message for event in world.events(job) if isinstance(event, LogEvent) and event.level == "warning"]


def no_explanation_of(services: Any, place: int, codec: Any) -> Callable[[ExplainResponse], ExplainResponse]:
    """Fail to explain the question that is asked for at this place of all."""

    def spoil(answer: ExplainResponse) -> ExplainResponse:
        tokens = answer.explanations[0].tokens
        assert tokens is not None
        if services.explained[place].question in codec.decode(tokens.prompt_token_ids):
            raise ScoringError("a generation broke")
        return answer

    return spoil


def scores_of_all_but(services: Any, *, left: int) -> Callable[[ScoreResponse], ScoreResponse]:
    """Score only so many explanations of the first question that is asked for, and all of the others."""

    def spoil(answer: ScoreResponse) -> ScoreResponse:
        request = services.scored[-1]
        if request.question != services.scored[0].question:
            return answer
        services.alone += len(request.explanations) == 1
        if len(request.explanations) > 1 or services.alone > left:
            raise ScoringError("no log-prob came back")
        return answer

    services.alone = 0
    return spoil


def test_a_question_whose_generation_fails_is_left_out_and_replayed_so(
    world: Any, fake_services: Services, codec: Any
) -> None:
    job = world.rl({"steps": 1, "max_dropped": 0.5})
    services = fake_services(job)
    services.spoil_explanation = no_explanation_of(services, 0, codec)
    result = run_rl(world.context(job, services))
    (metrics,) = metrics_of(world, job)
    assert (metrics["dropped"], result.cost["dropped"]) == (4.0, 4.0)
    assert {request.question for request in services.scored} == {services.explained[1].question}
    assert any("a generation broke" in said for said in warnings_of(world, job))
    # A later attempt trains on the very same: on what is left, in its place.
    again = world.rl({"steps": 1, "max_dropped": 0.5}, attempt=2, journal_dirs=[str(Path(job.attempt_dir) / "journal")])
    silent = fake_services(again)
    replayed = run_rl(world.context(again, silent))
    assert (silent.explained, silent.scored) == ([], [])
    assert replayed.sha256 == result.sha256
    assert metrics_of(world, again)[0]["dropped"] == 4.0


def test_a_question_of_which_one_rollout_is_left_is_left_out(world: Any, fake_services: Services) -> None:
    job = world.rl({"steps": 1, "max_dropped": 0.5})
    services = fake_services(job)
    services.spoil_score = scores_of_all_but(services, left=1)
    run_rl(world.context(job, services))
    (metrics,) = metrics_of(world, job)
    assert metrics["dropped"] == 4.0
    assert any("none to compare it with" in said for said in warnings_of(world, job))


def test_more_than_may_be_left_out_ends_the_job_before_a_step(world: Any, fake_services: Services, codec: Any) -> None:
    job = world.rl({"steps": 1, "max_dropped": 0.4})
    services = fake_services(job)
    services.spoil_explanation = no_explanation_of(services, 1, codec)
    with pytest.raises(RolloutsDroppedError, match="at most 3 may be left out"):
        run_rl(world.context(job, services))
    assert [step for step, _ in services.published] == [0]
    assert not (Path(job.attempt_dir) / "adapter").exists()
    assert not list((Path(job.attempt_dir) / "journal").glob("*.json"))


def test_where_nothing_is_left_to_compare_the_job_ends(world: Any, fake_services: Services) -> None:
    job = world.rl({"steps": 1, "max_dropped": 0.9, "questions_per_step": 1})
    services = fake_services(job)
    services.spoil_score = scores_of_all_but(services, left=1)
    with pytest.raises(RolloutsDroppedError, match="nothing is left to train on"):
        run_rl(world.context(job, services))


def test_what_works_again_after_a_while_is_not_left_out(world: Any, fake_services: Services) -> None:
    job = world.rl({"steps": 1})
    inner, clock, failures = fake_services(job), Clock(), [3]

    def fail_at_first(answer: ScoreResponse) -> ScoreResponse:
        if failures[0] == 0:
            return answer
        failures[0] -= 1
        raise ScoringError("no log-prob came back")

    inner.spoil_score = fail_at_first
    context = world.context(job, inner)
    run_rl(world.context(job, PatientServices(inner, patience=clock.patience(), stop=context.stop)))
    (metrics,) = metrics_of(world, job)
    assert (metrics["dropped"], failures) == (0.0, [0])


def test_a_question_that_was_left_out_gives_way_where_flat_ones_do(
    world: Any, fake_services: Services, codec: Any
) -> None:
    job = world.rl({"steps": 1, "max_dropped": 0.5, "dynamic_sampling": 1})
    services = fake_services(job)
    services.spoil_explanation = no_explanation_of(services, 1, codec)
    result = run_rl(world.context(job, services))
    assert result.cost["replaced_groups"] == 1
    (metrics,) = metrics_of(world, job)
    assert metrics["dropped"] == 4.0  # they failed, whatever came in their place


def test_held_out_questions_are_never_left_out(world: Any, fake_services: Services) -> None:
    job = world.rl({"steps": 1, "max_dropped": 0.9, "splits": {"gate": 0.25}}, served_version="tiny@0")
    services = fake_services(job)

    def fail_at_the_gate(answer: ScoreResponse) -> ScoreResponse:
        if services.explained[-1].n == 1:
            raise ScoringError("no log-prob came back")
        return answer

    services.spoil_score = fail_at_the_gate
    with pytest.raises(ScoringError):
        run_rl(world.context(job, services))


def test_the_loss_is_made_up_for_rows_and_micro_batches_that_are_left_out() -> None:
    whole, half, none = torch.ones(2, 3), torch.tensor([[1, 1, 0], [0, 0, 0]]), torch.zeros(2, 3)
    # 3 of 6 rows are left, in 2 of 3 micro-batches.
    masks = [whole, half, none]
    assert made_up_for(masks, loss_type="grpo") == made_up_for(masks, loss_type="dr_grpo") == 2.0
    assert made_up_for(masks, loss_type="bnpo") == 1.5
    assert made_up_for(masks, loss_type="dapo") == 1.0
    assert made_up_for([], loss_type="grpo") == 1.0


def test_a_rollout_that_is_left_out_is_no_weight_that_was_cut_off() -> None:
    mismatch = Mismatch()
    mismatch.add_weights(torch.tensor([[3.0], [0.0]]), torch.tensor([[1, 1], [0, 0]]), cap=3.0)
    assert (mismatch.weighed, mismatch.beyond) == (1, 1)


def test_a_step_without_failures_is_what_it_was(world: Any, fake_services: Services) -> None:
    """No mask, no factor: the same weights whatever may be left out."""
    weights: list[dict[str, torch.Tensor]] = []
    for allowed in (0.0, 0.9):
        job = world.rl({"steps": 1, "max_dropped": allowed})
        result = run_rl(world.context(job, fake_services(job)))
        weights.append(load_file(Path(result.adapter_dir) / "adapter_model.safetensors"))
    first, second = weights
    assert all(torch.equal(first[name], second[name]) for name in first)
