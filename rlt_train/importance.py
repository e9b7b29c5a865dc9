"""Own the difference between the engine that sampled and the trainer that learns: its weights and its measure. Pure.

The two compute the same model in other kernels, and with stale rollouts another one. The modes and their names are
TRL's (`vllm_importance_sampling_mode`), whose own code only runs with a vLLM of its own. Source: "Your Efficient RL
Framework Secretly Brings You Off-Policy RL Training" (Yao and others, 2025), token truncation; "When Speed Kills
Stability" (Liu and others, 2025), sequences and masks.
"""

# B completions, C longest completion (right-padded).

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlt_core.errors import ConfigurationError
from rlt_core.schemas.training import ImportanceCorrection


def importance_weights(
    trainer_BC: Tensor, engine_BC: Tensor, mask_BC: Tensor, *, mode: ImportanceCorrection, cap: float
) -> Tensor:
    """Give each token's (B, C) or sequence's (B, 1) weight, trainer's over engine's probability, without a gradient.

    Beyond `cap` a weight is `cap` (truncate) or 0 (mask). Raises ConfigurationError for `ratio`, which has no weights.
    """
    gap_BC = (trainer_BC.detach() - engine_BC) * mask_BC
    level, _, beyond = mode.partition("_")
    if beyond not in ("truncate", "mask"):
        raise ConfigurationError(f"the importance correction {mode!r} has no weights")
    weights = torch.exp(gap_BC.sum(-1, keepdim=True) if level == "sequence" else gap_BC)
    if beyond == "truncate":
        return weights.clamp(max=cap)
    return weights.masked_fill(weights > cap, 0.0)


@dataclass(slots=True)
class Mismatch:
    """Differences between trainer and engine over one step's tokens, added up micro-batch by micro-batch."""

    tokens: int = 0
    gap_sum: float = 0.0
    gap_max: float = 0.0
    ratio_sum: float = 0.0
    ratio_min: float = float("inf")
    ratio_max: float = 0.0
    beyond: int = 0
    """Tokens or sequences whose weight reached the cap."""
    weighed: int = 0

    def add(self, trainer_BC: Tensor, engine_BC: Tensor, mask_BC: Tensor) -> None:
        """Take in the log-probs of a micro-batch."""
        kept = mask_BC.bool()
        gap_N = (trainer_BC.detach() - engine_BC)[kept]
        if gap_N.numel() == 0:
            return
        ratio_N = gap_N.exp()
        self.tokens += gap_N.numel()
        self.gap_sum += gap_N.abs().sum().item()
        self.gap_max = max(self.gap_max, gap_N.abs().max().item())
        self.ratio_sum += ratio_N.sum().item()
        self.ratio_min = min(self.ratio_min, ratio_N.min().item())
        self.ratio_max = max(self.ratio_max, ratio_N.max().item())

    def add_weights(self, weights: Tensor, mask_BC: Tensor, *, cap: float) -> None:
        """Count which weights were cut off or masked."""
        kept = weights[mask_BC.bool() if weights.shape == mask_BC.shape else mask_BC.bool().any(-1)]
        self.weighed += kept.numel()
        self.beyond += int(((kept >= cap) | (kept == 0.0)).sum().item())

    @classmethod
    def of_parts(cls, parts: Sequence["Mismatch"]) -> "Mismatch":
        """Add up what several ranks, one at least, have seen."""
        return cls(
            tokens=sum(part.tokens for part in parts),
            gap_sum=sum(part.gap_sum for part in parts),
            gap_max=max(part.gap_max for part in parts),
            ratio_sum=sum(part.ratio_sum for part in parts),
            ratio_min=min(part.ratio_min for part in parts),
            ratio_max=max(part.ratio_max for part in parts),
            beyond=sum(part.beyond for part in parts),
            weighed=sum(part.weighed for part in parts),
        )

    def metrics(self) -> dict[str, float]:
        """Name what was added up; a step without tokens has a gap of 0 and a ratio of 1."""
        some = self.tokens > 0
        found = {
            "logprob_gap_mean": self.gap_sum / self.tokens if some else 0.0,
            "logprob_gap_max": self.gap_max,
            "importance_mean": self.ratio_sum / self.tokens if some else 1.0,
            "importance_min": self.ratio_min if some else 1.0,
            "importance_max": self.ratio_max if some else 1.0,
        }
        return found | ({"importance_cut": self.beyond / self.weighed} if self.weighed else {})
