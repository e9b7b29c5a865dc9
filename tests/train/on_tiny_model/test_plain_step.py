"""The product's step against a plain transcription of the method: same advantages, loss and gradient."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM, TrainerCallback

from rlt_core.errors import ScoringError
from rlt_core.schemas.explain import ExplainResponse
from rlt_core.schemas.score import ScoreResponse
from rlt_core.schemas.trainer import ProgressEvent
from rlt_train.grpo import RltGrpoTrainer
from rlt_train.rl import run_rl
from tests.train.plain_step import Completion, Options, plain_advantages, plain_loss

pytestmark = pytest.mark.training

Services = Callable[[Any], Any]
# Clipping by the norm would hide the gradient; a large rate moves the policy away from its reference.
STEPS = {"steps": 2, "learning_rate": 0.02, "max_grad_norm": 1e6}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"scale_rewards": "none", "loss_type": "dr_grpo"},
    {"scale_rewards": "batch", "loss_type": "dapo", "epsilon": 0.1, "epsilon_high": 0.28},
    {"loss_type": "bnpo", "beta": 0.5},
    {"unbiased_kl": False, "beta": 0.5},
    {"importance_correction": "token_truncate", "importance_cap": 1.1},
    {"importance_correction": "token_mask", "importance_cap": 1.1, "loss_type": "dapo"},
    {"importance_correction": "sequence_truncate", "importance_cap": 1.5},
    {"importance_correction": "sequence_mask", "importance_cap": 1.5, "loss_type": "dr_grpo"},
]


class Watching(RltGrpoTrainer):
    """Keeps each step's advantages and gradients."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.advantages: list[list[float]] = []
        self.gradients: list[dict[str, Tensor]] = []
        watcher = self

        class Gradients(TrainerCallback):
            def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
                named = watcher.policy.named_parameters()
                watcher.gradients.append({name: p.grad.clone() for name, p in named if p.grad is not None})

        self.add_callback(Gradients())
        LATEST.append(self)

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        batch = super()._generate_and_score_completions(inputs)
        self.advantages.append(batch["advantages"].tolist())
        return batch


LATEST: list[Watching] = []


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    LATEST.clear()
    yield
    LATEST.clear()


def noisy(answer: ExplainResponse) -> ExplainResponse:
    """Answer as an engine whose kernels round coarsely: without a difference, correction has nothing to do."""
    generator = torch.Generator().manual_seed(7)
    items = []
    for item in answer.explanations:
        assert item.tokens is not None
        noise = (0.3 * torch.randn(len(item.tokens.completion_logprobs), generator=generator)).tolist()
        logprobs = [min(a + b, 0.0) for a, b in zip(item.tokens.completion_logprobs, noise, strict=True)]
        items.append(
            item.model_copy(update={"tokens": item.tokens.model_copy(update={"completion_logprobs": logprobs})})
        )
    return answer.model_copy(update={"explanations": items})


def with_adapter(job: Any, step: int, *, trainable: bool) -> PeftModel:
    base = AutoModelForCausalLM.from_pretrained(job.base_model_dir, dtype=torch.float32)
    folder = Path(job.attempt_dir) / "rollouts" / str(step)
    return PeftModel.from_pretrained(base, folder, is_trainable=trainable).eval()


def sampled(services: Any, step: int) -> list[list[Completion]]:
    answers = [answer for answer in services.answers if answer.teacher.version.endswith(f"@{step}")]
    return [
        [
            Completion(
                prompt=item.tokens.prompt_token_ids,
                ids=item.tokens.completion_token_ids,
                engine_logprobs=item.tokens.completion_logprobs,
                reward=sum(token < 130 for token in item.tokens.completion_token_ids)
                / len(item.tokens.completion_token_ids)
                - 1.0,
            )
            for item in answer.explanations
        ]
        for answer in answers
    ]


def options_of(spec: Any) -> Options:
    """Give the transcription what a spec says."""
    return Options(
        temperature=spec.temperature,
        max_tokens=spec.max_tokens,
        beta=spec.beta,
        unbiased_kl=spec.unbiased_kl,
        loss_type=spec.loss_type,
        scale_rewards=spec.scale_rewards,
        epsilon=spec.epsilon,
        epsilon_high=spec.epsilon_high,
        importance_correction=spec.importance_correction,
        importance_cap=spec.importance_cap,
    )


def check_gradients(found: Mapping[str, Any], policy: Any) -> None:
    """Hold a step's gradients against those that the transcription's loss has left in the policy."""
    wanted = {name: p.grad for name, p in policy.named_parameters() if p.grad is not None}
    assert set(found) == set(wanted)
    apart = sum(((found[name] - wanted[name]) ** 2).sum() for name in wanted) ** 0.5
    size = sum((wanted[name] ** 2).sum() for name in wanted) ** 0.5
    assert size > 1e-3
    assert apart < 1e-3 * size


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(map(str, options.values())) or "default")
def test_a_step_has_the_advantages_loss_and_gradient_of_the_plain_transcription(
    world: Any, fake_services: Services, options: dict[str, Any]
) -> None:
    job = world.rl(STEPS | options)
    services = fake_services(job)
    services.spoil_explanation = noisy
    run_rl(world.context(job, services), trainer_class=Watching)
    watched, spec = LATEST[0], job.spec
    groups = sampled(services, 1)
    # The second step: its policy has left the reference, which is where training began.
    policy, reference = with_adapter(job, 1, trainable=True), with_adapter(job, 0, trainable=False)
    loss = plain_loss(policy, reference, groups, options_of(spec))
    loss.backward()
    advantages = [better for group in plain_advantages(groups, scale=spec.scale_rewards) for better in group]
    assert watched.advantages[1] == pytest.approx(advantages, rel=1e-4, abs=1e-5)
    told = [event.metrics["loss"] for event in world.events(job) if isinstance(event, ProgressEvent)]
    assert told[1] == pytest.approx(loss.item(), rel=1e-3, abs=1e-5)
    check_gradients(watched.gradients[1], policy)


def one_of_the_first_question(services: Any) -> Callable[[ScoreResponse], ScoreResponse]:
    """Fail to score the second explanation of each step's first question, with others or alone."""
    services.doomed = set()

    def spoil(answer: ScoreResponse) -> ScoreResponse:
        request = services.scored[-1]
        ids = [tuple(entry.tokens.completion_token_ids) for entry in request.explanations]
        first = next(asked for asked in services.explained[::-1][1:2])  # two questions a step
        if len(ids) > 1 and request.question == first.question:
            services.doomed.add(ids[1])
        if services.doomed & set(ids):
            raise ScoringError("no log-prob came back")
        return answer

    return spoil


@pytest.mark.parametrize(
    "options", [{}, {"scale_rewards": "batch", "loss_type": "dapo"}, {"loss_type": "dr_grpo"}], ids=str
)
def test_a_step_from_which_a_rollout_was_left_out_is_that_of_the_others(
    world: Any, fake_services: Services, options: dict[str, Any]
) -> None:
    job = world.rl(STEPS | options)
    services = fake_services(job)
    services.spoil_explanation = noisy
    services.spoil_score = one_of_the_first_question(services)
    run_rl(world.context(job, services), trainer_class=Watching)
    watched, spec = LATEST[0], job.spec
    groups = [[made for made in group if tuple(made.ids) not in services.doomed] for group in sampled(services, 1)]
    assert [len(group) for group in groups] == [3, 4]
    policy, reference = with_adapter(job, 1, trainable=True), with_adapter(job, 0, trainable=False)
    loss = plain_loss(policy, reference, groups, options_of(spec))
    loss.backward()
    first, second = plain_advantages(groups, scale=spec.scale_rewards)
    assert watched.advantages[1] == pytest.approx([*first, 0.0, *second], rel=1e-4, abs=1e-5)
    metrics = [event.metrics for event in world.events(job) if isinstance(event, ProgressEvent)]
    assert metrics[1]["loss"] == pytest.approx(loss.item(), rel=1e-3, abs=1e-5)
    assert metrics[1]["dropped"] == 1.0
    check_gradients(watched.gradients[1], policy)


def test_what_is_beyond_the_cap_is_told(world: Any, fake_services: Services) -> None:
    job = world.rl({"importance_correction": "token_truncate", "importance_cap": 1.1})
    services = fake_services(job)
    services.spoil_explanation = noisy
    run_rl(world.context(job, services))
    metrics = next(event.metrics for event in world.events(job) if isinstance(event, ProgressEvent))
    assert 0.1 < metrics["importance_cut"] < 0.7
    assert metrics["importance_min"] < 0.9 < 1.1 < metrics["importance_max"]
    assert metrics["logprob_gap_mean"] == pytest.approx(0.24, abs=0.1)
