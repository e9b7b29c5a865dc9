"""Own a plain and slow transcription of the method: the reward, and one GRPO step; loops over single sequences.

Nothing of the product is used: no padding, no batches, nothing shared, no TRL. Sources: Cetin, Zhao, Tang 2025 (arXiv
2506.08388), section 3, for the reward; Shao and others 2024 (2402.03300) for GRPO; Yu and others 2025 (2503.14476) for
DAPO; Liu and others 2025 (2503.20783) for Dr. GRPO; DeepSeek-V3.2 (2512.02556) for the KL penalty without bias.
"""

# C tokens of a completion, G completions of a question.

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Completion:
    """One sampled completion with what the engine said of it and what it is worth."""

    prompt: Sequence[int]
    ids: Sequence[int]
    engine_logprobs: Sequence[float]
    reward: float


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a step, as a spec names them."""

    temperature: float
    max_tokens: int
    beta: float
    unbiased_kl: bool
    loss_type: str
    scale_rewards: str
    epsilon: float
    epsilon_high: float | None
    importance_correction: str
    importance_cap: float


def token_logprobs(model: Any, prompt: Sequence[int], ids: Sequence[int], *, temperature: float) -> Tensor:
    """Compute log-probs [C] of a completion's tokens, of logits divided by the temperature."""
    logits = model(input_ids=torch.tensor([[*prompt, *ids]])).logits[0]
    rows = [
        torch.log_softmax(logits[len(prompt) + place - 1] / temperature, -1)[token] for place, token in enumerate(ids)
    ]
    return torch.stack(rows)


def plain_reward(
    *,
    solution_logprobs: Sequence[float],
    teacher_logprobs: Sequence[float],
    student_logprobs: Sequence[float],
    closed: bool,
    coefficients: tuple[float, float, float, float] = (1.0, 0.01, 3.0, 0.03),
) -> float:
    """Reward one explanation that has tokens, by the paper's formulas and its coefficients."""
    mean_c, min_c, kl_mean_c, kl_max_c = coefficients
    gaps = [teacher - student for teacher, student in zip(teacher_logprobs, student_logprobs, strict=True)]
    understood = mean_c * sum(solution_logprobs) / len(solution_logprobs) + min_c * min(solution_logprobs)
    alien = kl_mean_c * sum(gaps) / len(gaps) + kl_max_c * max(gaps)
    return understood - alien + (0.0 if closed else -1.0)


def plain_advantages(groups: Sequence[Sequence[Completion]], *, scale: str) -> list[list[float]]:
    """Compare each completion with the others of its question."""
    rewards = [torch.tensor([completion.reward for completion in group]) for group in groups]
    spread_of_all = torch.cat(rewards).std()
    found: list[list[float]] = []
    for group in rewards:
        better = group - group.mean()
        if scale == "group":
            better = better / (group.std() + 1e-4)
        elif scale == "batch":
            better = better / (spread_of_all + 1e-4)
        found.append(better.tolist())
    return found


def plain_loss(policy: Any, reference: Any, groups: Sequence[Sequence[Completion]], options: Options) -> Tensor:
    """Compute the loss of a whole step, with the policy's gradient; the policy has not moved since it sampled."""
    advantages = plain_advantages(groups, scale=options.scale_rewards)
    losses: list[Tensor] = []
    for group, betters in zip(groups, advantages, strict=True):
        for completion, better in zip(group, betters, strict=True):
            new = token_logprobs(policy, completion.prompt, completion.ids, temperature=options.temperature)
            with torch.no_grad():
                kept = token_logprobs(reference, completion.prompt, completion.ids, temperature=options.temperature)
            engine = torch.tensor(completion.engine_logprobs)
            losses.append(_token_losses(new, kept, engine, better=better, options=options))
    tokens = sum(len(loss) for loss in losses)
    if options.loss_type == "grpo":
        return torch.stack([loss.mean() for loss in losses]).mean()
    total = torch.stack([loss.sum() for loss in losses]).sum()
    if options.loss_type == "dr_grpo":
        return total / (len(losses) * options.max_tokens)
    return total / tokens  # dapo; bnpo too, where a step is one micro-batch


def _token_losses(new: Tensor, kept: Tensor, engine: Tensor, *, better: float, options: Options) -> Tensor:
    mode = options.importance_correction
    old = engine if mode == "ratio" else new.detach()
    high = options.epsilon if options.epsilon_high is None else options.epsilon_high
    weight = _weight(new.detach() - engine, mode=mode, cap=options.importance_cap)
    losses: list[Tensor] = []
    for place in range(len(new)):
        ratio = torch.exp(new[place] - old[place])
        clipped = ratio.clamp(1.0 - options.epsilon, 1.0 + high)
        gain = torch.minimum(ratio * better, clipped * better)
        away = kept[place] - new[place]
        penalty = (torch.exp(away) - away - 1.0) * (ratio if options.unbiased_kl else 1.0)
        losses.append(-gain * weight[place] + options.beta * penalty)
    return torch.stack(losses)


def _weight(gaps: Tensor, *, mode: str, cap: float) -> Tensor:
    if mode == "ratio":
        return torch.ones_like(gaps)
    level, beyond = mode.split("_")
    ratios = torch.exp(gaps.sum()).expand(len(gaps)) if level == "sequence" else torch.exp(gaps)
    if beyond == "truncate":
        return ratios.clamp(max=cap)
    return torch.where(ratios > cap, torch.zeros_like(ratios), ratios)
