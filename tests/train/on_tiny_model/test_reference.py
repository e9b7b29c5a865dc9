from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM

from rlt_core.schemas.trainer import ProgressEvent
from rlt_train.grpo import RltGrpoTrainer
from rlt_train.reference import Delta, mixed
from rlt_train.rl import run_rl
from tests.train.plain_step import token_logprobs

pytestmark = pytest.mark.training

Services = Callable[[Any], Any]


def a_delta(rank: int, *, seed: int) -> Delta:
    generator = torch.Generator().manual_seed(seed)
    return Delta(
        up_OR=torch.randn(12, rank, generator=generator), down_RI=torch.randn(rank, 20, generator=generator) / 4
    )


@pytest.mark.parametrize("mix", [0.25, 0.9, 1.0])
def test_a_mixture_is_of_what_the_adapters_add_and_not_of_their_factors(mix: float) -> None:
    policy, reference = a_delta(3, seed=1), a_delta(2, seed=2)
    found = mixed(policy, reference, mix=mix)
    wanted = mix * policy.up_OR @ policy.down_RI + (1 - mix) * reference.up_OR @ reference.down_RI
    assert torch.allclose(found.up_OR @ found.down_RI, wanted, atol=1e-5)
    assert found.down_RI.shape[0] == (5 if mix < 1.0 else 3)


def test_a_mixture_of_the_same_needs_no_higher_rank() -> None:
    policy = a_delta(3, seed=1)
    found = mixed(policy, policy, mix=0.5)
    assert found.down_RI.shape[0] == 3
    assert torch.allclose(found.up_OR @ found.down_RI, policy.up_OR @ policy.down_RI, atol=1e-5)


def test_what_adds_nothing_can_be_mixed() -> None:
    empty = Delta(up_OR=torch.zeros(12, 2), down_RI=torch.randn(2, 20))
    found = mixed(empty, empty, mix=0.9)
    assert torch.equal(found.up_OR @ found.down_RI, torch.zeros(12, 20))


def added(job: Any, step: int) -> dict[str, Tensor]:
    """Compute what the policy of a step adds to the base, by layer."""
    base = AutoModelForCausalLM.from_pretrained(job.base_model_dir, dtype=torch.float32)
    before = {name: weight.clone() for name, weight in base.state_dict().items()}
    folder = Path(job.attempt_dir) / "rollouts" / str(step)
    merged = PeftModel.from_pretrained(base, folder).merge_and_unload()
    return {name: weight - before[name] for name, weight in merged.state_dict().items()}


def test_the_reference_is_the_mixture_of_policy_and_reference_before(world: Any, fake_services: Services) -> None:
    seen: list[tuple[Tensor, Tensor, Tensor]] = []

    class Watching(RltGrpoTrainer):
        def _compute_loss(self, model: Any, inputs: Any) -> Tensor:
            for row in range(len(inputs["prompt_ids"])):
                prompt = inputs["prompt_ids"][row][inputs["prompt_mask"][row].bool()]
                kept = inputs["completion_mask"][row].bool()
                seen.append((prompt, inputs["completion_ids"][row][kept], inputs["ref_per_token_logps"][row][kept]))
            return super()._compute_loss(model, inputs)

    job = world.rl({"steps": 3, "learning_rate": 0.05, "reference_every": 1, "reference_mix": 0.25})
    run_rl(world.context(job, fake_services(job)), trainer_class=Watching)
    start, first, second = (added(job, step) for step in (0, 1, 2))
    base = AutoModelForCausalLM.from_pretrained(job.base_model_dir, dtype=torch.float32).eval()
    weights = {
        name: weight + 0.25 * second[name] + 0.75 * (0.25 * first[name] + 0.75 * start[name])
        for name, weight in base.state_dict().items()
    }
    base.load_state_dict(weights)
    last = seen[-len(seen) // 3 :]
    assert len(last) == 8
    with torch.no_grad():
        for prompt, ids, told in last:
            wanted = token_logprobs(base, prompt.tolist(), ids.tolist(), temperature=job.spec.temperature)
            assert torch.allclose(told, wanted, atol=1e-4)


def test_a_reference_that_becomes_the_policy_leaves_no_divergence(world: Any, fake_services: Services) -> None:
    spec = {"steps": 3, "learning_rate": 0.05, "reference_mix": 1.0}
    kls: dict[int, list[float]] = {}
    for every in (0, 1, 2):
        job = world.rl(spec | {"reference_every": every})
        run_rl(world.context(job, fake_services(job)))
        kls[every] = [event.metrics["kl"] for event in world.events(job) if isinstance(event, ProgressEvent)]
    still, always, sometimes = kls[0], kls[1], kls[2]
    assert still[1] > 1e-5
    assert still[2] > 1e-5
    assert max(always) < 1e-6
    assert sometimes[1] > 1e-5
    assert sometimes[2] < 1e-6
