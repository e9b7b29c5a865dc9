from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from rlt_core.schemas.trainer import CheckpointEvent, ProgressEvent
from rlt_core.schemas.training import DivergenceLimits
from rlt_train.divergence import check_divergence
from rlt_train.errors import DivergedError
from rlt_train.grpo import RltGrpoTrainer
from rlt_train.rl import run_rl
from rlt_train.warmup import run_warmup

pytestmark = pytest.mark.training

Services = Callable[[Any], Any]
NO_LIMITS = DivergenceLimits(grad_norm=None, kl=None)


class Spoilt(RltGrpoTrainer):
    """Its third step has a loss without a number."""

    def _compute_loss(self, model: Any, inputs: Any) -> Tensor:
        loss = super()._compute_loss(model, inputs)
        return loss * float("nan") if self.state.global_step == 2 else loss


def steps_told(world: Any, job: Any, kind: type) -> list[int]:
    return [event.step for event in world.events(job) if isinstance(event, kind)]


def test_a_step_whose_gradient_is_no_number_is_not_taken_and_the_one_before_is_kept(
    world: Any, fake_services: Services
) -> None:
    job = world.rl({"steps": 5, "save_every": 0, "divergence": {"grad_norm": None, "kl": None}})
    with pytest.raises(DivergedError, match=r"step 3 diverged and was not taken: the gradient's norm is nan"):
        run_rl(world.context(job, fake_services(job)), trainer_class=Spoilt)
    assert steps_told(world, job, ProgressEvent) == [1, 2]
    assert steps_told(world, job, CheckpointEvent) == [2]
    folder = Path(job.attempt_dir)
    saved = load_file(folder / "checkpoints" / "step-2" / "adapter" / "adapter_model.safetensors")
    published = load_file(folder / "rollouts" / "2" / "adapter_model.safetensors")
    assert all(torch.equal(saved[name], published[name]) for name in saved)
    assert all(bool(torch.isfinite(weight).all()) for weight in saved.values())


def test_a_policy_that_runs_away_from_its_reference_is_stopped(world: Any, fake_services: Services) -> None:
    job = world.rl({"steps": 5, "learning_rate": 0.1, "divergence": {"kl": 1e-4}})
    with pytest.raises(
        DivergedError, match=r"the divergence from the reference is \S+, above divergence\.kl = 0\.0001"
    ):
        run_rl(world.context(job, fake_services(job)))
    assert steps_told(world, job, ProgressEvent) == [1]


def test_a_warm_up_with_a_gradient_beyond_its_limit_is_stopped_at_once(world: Any) -> None:
    job = world.warmup(divergence={"grad_norm": 1e-6})
    with pytest.raises(DivergedError, match=r"divergence\.grad_norm"):
        run_warmup(world.context(job))
    assert steps_told(world, job, ProgressEvent) == []
    assert steps_told(world, job, CheckpointEvent) == []


@pytest.mark.parametrize(("grad_norm", "kl"), [(float("inf"), None), (1.0, float("nan")), (1.0, float("inf"))])
def test_what_is_not_finite_stops_without_any_limit(grad_norm: float, kl: float | None) -> None:
    with pytest.raises(DivergedError):
        check_divergence(grad_norm, kl=kl, limits=NO_LIMITS, step=1)


def test_what_is_within_its_limits_goes_on() -> None:
    check_divergence(1e9, kl=1e9, limits=NO_LIMITS, step=1)
    check_divergence(1000.0, kl=100.0, limits=DivergenceLimits(), step=1)
