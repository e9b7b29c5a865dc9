"""A step of `rl` whose rollouts vLLM has sampled and scored, against the plain transcription on plain transformers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from torch import Tensor
from transformers import AutoModelForCausalLM

from rlt_client import Client
from rlt_client.demo.questions import generate_questions
from rlt_core.formats import ExplanationPiece
from rlt_core.schemas.jobs import RlSpec
from rlt_tokens import TokenizerCodec, load_codec
from tests.train.plain_step import Completion, Options, plain_advantages, plain_loss, plain_reward, token_logprobs

pytestmark = [pytest.mark.real, pytest.mark.timeout(400)]

BASE = "smollm2-135m@0"
QUESTIONS = {f"q{number}": made for number, made in enumerate(generate_questions(count=2, seed=23))}
SPEC: dict[str, Any] = {
    **{"kind": "rl", "teacher": BASE, "student": BASE, "target_name": "plain", "steps": 2, "save_every": 1},
    **{"questions_per_step": 2, "samples_per_question": 3, "max_tokens": 16, "lora": {"rank": 8, "alpha": 16.0}},
    # Without clipping, so that the optimizer's moments hold the gradient itself.
    **{"learning_rate": 1e-3, "beta": 0.04, "max_grad_norm": 1e6},
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """The second step of a job: its policy has left the reference, which is the base."""

    spec: RlSpec
    folder: Path
    rollouts: list[dict[str, Any]]
    groups: list[list[Completion]]
    told: Mapping[str, float]
    base: Any
    policy: Any
    codec: TokenizerCodec

    def loss(self) -> Tensor:
        """Compute the loss of the step anew."""
        names = list(Options.__dataclass_fields__)
        return plain_loss(self.policy, self.base, self.groups, Options(**{n: getattr(self.spec, n) for n in names}))


@pytest.fixture(scope="module")
def step(real_client: Client, real_home: Path) -> Step:
    rows = [{"id": name, "question": made.question, "solution": made.solution} for name, made in QUESTIONS.items()]
    dataset = real_client.datasets.create(rows, name="plain-step").id
    job = real_client.jobs.wait(real_client.train(SPEC | {"dataset": dataset}).id)
    assert job.status == "succeeded", job.error
    assert isinstance(job.spec, RlSpec)
    folder = real_home / "artifacts" / "jobs" / job.id / "attempt-1"
    entry = json.loads((folder / "journal" / "step-1.json").read_text().splitlines()[1])
    assert {line["scored_by"] for line in entry["rollouts"]} == {"vllm"}
    model = real_home / "models" / "smollm2-135m"
    load = partial(AutoModelForCausalLM.from_pretrained, model, dtype=torch.float32, local_files_only=True)
    adapter = folder / "checkpoints" / "step-1" / "adapter"
    told = real_client.jobs.metrics(job.id)
    return Step(
        spec=job.spec,
        folder=folder,
        rollouts=entry["rollouts"],
        groups=[
            [_completion(line) for line in entry["rollouts"] if line["row_id"] == row_id] for row_id in entry["asked"]
        ],
        told={name: float(values[told.steps.index(2)] or 0.0) for name, values in told.series.items()},
        base=load().eval(),
        policy=PeftModel.from_pretrained(load(), adapter, is_trainable=True).eval(),
        codec=load_codec(model),
    )


def _completion(line: dict[str, Any]) -> Completion:
    tokens = line["tokens"]
    return Completion(
        prompt=tokens["prompt_token_ids"],
        ids=tokens["completion_token_ids"],
        engine_logprobs=tokens["completion_logprobs"],
        reward=line["score"]["reward"],
    )


def test_rewards_are_those_of_plain_transformers(step: Step) -> None:
    assert len(step.rollouts) == 6
    for line in step.rollouts:
        assert line["score"]["reward"] == pytest.approx(reward_of(step, line), abs=1e-4)


def reward_of(step: Step, line: dict[str, Any]) -> float:
    """Compute a rollout's reward anew: teacher and student read its ids, nothing of the engine's is used."""
    tokens, made = line["tokens"], QUESTIONS[line["row_id"]]
    ids, span = tokens["completion_token_ids"], slice(*tokens["explanation"])
    ends = step.codec.end_token_ids | step.codec.control_token_ids
    parsed = step.codec.parse_completion([token for token in ids if token not in ends])
    assert (parsed.explanation.start, parsed.explanation.end) == tuple(tokens["explanation"])
    piece = ExplanationPiece(text=line["text"], token_ids=tuple(ids[span]), rest=parsed.rest)
    read = step.codec.student_sequence(question=made.question, solution=made.solution, explanation=piece)
    begin, solution = read.explanation.start, read.solution
    with torch.no_grad():
        taught = token_logprobs(step.policy, tokens["prompt_token_ids"], ids, temperature=step.spec.temperature)
        heard = token_logprobs(
            step.base, read.token_ids[:begin], read.token_ids[begin:], temperature=step.spec.reward.temperature
        ).tolist()
    return plain_reward(
        solution_logprobs=heard[solution.start - begin : solution.end - begin],
        teacher_logprobs=taught.tolist()[span],
        student_logprobs=heard[: read.explanation.end - begin],
        closed=line["well_formed"],
    )


def test_advantages_loss_and_gradient_are_those_of_the_plain_transcription(step: Step) -> None:
    loss = step.loss()
    loss.backward()
    rewards = torch.tensor([[made.reward for made in group] for group in step.groups])
    assert step.told["reward"] == pytest.approx(rewards.mean().item(), rel=1e-4)
    assert step.told["reward_std"] == pytest.approx(rewards.std().item(), rel=1e-4)
    assert max(abs(better) for group in plain_advantages(step.groups, scale="group") for better in group) > 0.5
    assert step.told["loss"] == pytest.approx(loss.item(), rel=1e-3, abs=1e-5)
    wanted = [weight.grad for weight in step.policy.parameters() if weight.grad is not None]
    found = trained_gradient(step.folder)
    assert len(found) == len(wanted) > 100
    size = sum((part**2).sum() for part in wanted) ** 0.5
    apart = sum(((mine - theirs) ** 2).sum() for mine, theirs in zip(found, wanted, strict=True)) ** 0.5
    assert step.told["grad_norm"] == pytest.approx(size.item(), rel=1e-3)
    assert apart < 1e-3 * size


def trained_gradient(folder: Path) -> list[Tensor]:
    """Give the gradient that the optimizer saw at the second step, by what it made of its first moments."""
    first, second = (
        torch.load(folder / "checkpoints" / f"step-{step}" / "state.pt", weights_only=True)["optimizer"]
        for step in (1, 2)
    )
    [group] = [group for group in second["param_groups"] if group["params"]]
    keep = group["betas"][0]
    return [
        (second["state"][number]["exp_avg"] - keep * first["state"][number]["exp_avg"]) / (1.0 - keep)
        for number in group["params"]
    ]
