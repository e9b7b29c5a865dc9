"""`rl` of all weights: each step's policy is a whole model, the reference a second one; resumes go on to the bit."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from rlt_core.artifacts import kind_of, weights_sha256
from rlt_core.errors import ConfigurationError
from rlt_core.model_shape import read_shape
from rlt_core.schemas.trainer import CheckpointEvent, ProgressEvent, ResumePoint
from rlt_service.engine.full_weights import validate_full
from rlt_service.engine.protocol import FullRef
from rlt_train.errors import RolloutMismatchError, TrainingMemoryError
from rlt_train.grpo import RltGrpoTrainer
from rlt_train.rl import run_rl
from rlt_train.warmup import run_warmup
from tests.train.on_tiny_model.test_pass_plan import with_room
from tests.train.on_tiny_model.test_plain_step import LATEST, Watching, check_gradients, noisy, options_of, sampled
from tests.train.on_tiny_model.test_rl import other_version, progress
from tests.train.plain_step import plain_advantages, plain_loss

pytestmark = pytest.mark.training

Services = Callable[[Any], Any]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    LATEST.clear()
    yield
    LATEST.clear()


def policy_of(job: Any, step: int) -> Any:
    folder = Path(job.attempt_dir) / "rollouts" / str(step)
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def test_every_steps_policy_is_a_whole_model_that_engines_take(world: Any, fake_services: Services) -> None:
    job = world.rl({"steps": 2, "lora": None})
    services = fake_services(job)
    result = run_rl(world.context(job, services))
    assert [step for step, _ in services.published] == [0, 1, 2]
    weights = []
    for step, sha256 in services.published:
        folder = Path(job.attempt_dir) / "rollouts" / str(step)
        assert (kind_of(folder), weights_sha256(folder)) == ("full", sha256)
        validate_full(FullRef(version=f"tiny@{step}", path=folder, sha256=sha256), base=world.base_dir)
        weights.append(load_file(folder / "model.safetensors"))
    start, first, _ = weights
    base = load_file(world.base_dir / "model.safetensors")
    assert all(torch.equal(start[name], base[name]) for name in base)
    assert all(not torch.equal(first[name], base[name]) for name in base)
    assert (kind_of(Path(result.adapter_dir)), result.lora_rank) == ("full", None)
    assert result.sha256 == services.published[-1][1]
    # What the engine said and what the trainer computes are of the same weights.
    assert max(event.metrics["logprob_gap_max"] for event in progress(world, job)) < 1e-4


@pytest.mark.parametrize("options", [{}, {"beta": 0.5, "loss_type": "bnpo"}, {"beta": 0.0, "loss_type": "dapo"}])
def test_a_step_of_all_weights_is_that_of_the_plain_transcription(
    world: Any, fake_services: Services, options: dict[str, Any]
) -> None:
    job = world.rl({"steps": 2, "learning_rate": 0.002, "max_grad_norm": 1e6, "lora": None} | options)
    services = fake_services(job)
    services.spoil_explanation = noisy
    run_rl(world.context(job, services), trainer_class=Watching)
    watched, spec = LATEST[0], job.spec
    groups = sampled(services, 1)
    policy, reference = policy_of(job, 1), policy_of(job, 0)
    loss = plain_loss(policy, reference, groups, options_of(spec))
    loss.backward()
    advantages = [better for group in plain_advantages(groups, scale=spec.scale_rewards) for better in group]
    assert watched.advantages[1] == pytest.approx(advantages, abs=1e-4)
    assert progress(world, job)[1].metrics["loss"] == pytest.approx(loss.item(), rel=1e-3, abs=1e-6)
    check_gradients(watched.gradients[1], policy)


def test_a_run_that_is_taken_up_ends_with_the_same_bytes_and_goes_on_publishing_where_it_was(
    world: Any, fake_services: Services
) -> None:
    # With a reference that has moved, and a best policy to remember.
    spec = {"steps": 4, "save_every": 2, "lora": None, "eval_every": 2, "splits": {"select": 0.25}}
    spec |= {"beta": 0.5, "reference_every": 2, "reference_mix": 0.75}
    first = world.rl(spec)
    whole = run_rl(world.context(first, fake_services(first)))
    saved = next(event for event in world.events(first) if isinstance(event, CheckpointEvent))
    assert saved.step == 2
    point = ResumePoint(attempt=1, step=2, folder=saved.path, manifest_sha256=saved.manifest_sha256)
    again = world.rl(spec).model_copy(update={"attempt": 2, "resume_points": [point]})
    services = fake_services(again)
    resumed = run_rl(world.context(again, services))
    assert [step for step, _ in services.published][:3] == [2, 3, 4]
    assert [event.step for event in world.events(again) if isinstance(event, ProgressEvent)] == [3, 4]
    assert resumed.sha256 == whole.sha256


def test_the_reference_of_all_weights_is_the_version_that_training_starts_from(
    world: Any, fake_services: Services
) -> None:
    warm = run_warmup(world.context(world.warmup(learning_rate=0.01, max_steps=4, epochs=10.0, lora=None)))
    kls: list[float] = []

    class Looking(RltGrpoTrainer):
        def _compute_loss(self, model: Any, inputs: Any) -> torch.Tensor:
            mask = inputs["completion_mask"].bool()
            apart = inputs["ref_per_token_logps"] - inputs["old_per_token_logps"]
            kls.append(apart[mask].abs().max().item())
            return super()._compute_loss(model, inputs)

    job = world.rl({"steps": 2, "beta": 0.04, "lora": None}, start_adapter_dir=warm.adapter_dir)
    run_rl(world.context(job, fake_services(job)), trainer_class=Looking)
    start = load_file(Path(job.attempt_dir) / "rollouts" / "0" / "model.safetensors")
    given = load_file(Path(warm.adapter_dir) / "model.safetensors")
    assert all(torch.equal(start[name], given[name]) for name in given)
    assert kls[0] < 1e-4
    assert kls[1] > 1e-3


def test_rollouts_of_another_policy_of_all_weights_are_refused(world: Any, fake_services: Services) -> None:
    job = world.rl({"lora": None})
    services = fake_services(job)
    services.spoil_explanation = other_version
    with pytest.raises(RolloutMismatchError):
        run_rl(world.context(job, services))


def test_a_reference_of_all_weights_moves_by_its_mix_of_each_weight(world: Any, fake_services: Services) -> None:
    job = world.rl({"steps": 2, "lora": None, "beta": 0.5, "reference_every": 2, "reference_mix": 0.75})
    run_rl(world.context(job, fake_services(job)), trainer_class=Watching)
    reference: Any = LATEST[0].ref_model
    moved, start, last = reference.state_dict(), policy_of(job, 0).state_dict(), policy_of(job, 2).state_dict()
    assert all(torch.allclose(moved[name], 0.75 * last[name] + 0.25 * start[name], atol=1e-6) for name in start)
    assert any(not torch.equal(moved[name], start[name]) for name in start)


def test_without_a_reference_none_is_moved(world: Any, fake_services: Services) -> None:
    job = world.rl({"lora": None, "beta": 0.0, "reference_every": 1})
    with pytest.raises(ConfigurationError, match="no reference to move"):
        run_rl(world.context(job, fake_services(job)))


def test_memory_counts_weights_gradients_moments_the_reference_and_the_engines_copy(
    world: Any, fake_services: Services
) -> None:
    job = world.rl({"lora": None})
    shape = read_shape(world.base_dir)
    assert shape is not None
    held = 4 * shape.parameters * (1 + 2 + 2 + 1 + 1)
    with pytest.raises(TrainingMemoryError, match="the engine of its policies"):
        run_rl(with_room(world.context(job, fake_services(job)), held))
    assert not fake_services(job).published
