"""What the scoring worker computes, apart from vLLM: which rows of a step are wanted, and their log-probs."""

# R rows of hidden states whose next token is wanted, V vocabulary

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

START_KEY = "rlt_start"
TEMPERATURE_KEY = "rlt_temperature"
EXACT_KEY = "rlt_exact_math"
"""In vLLM's `additional_config`: whether its worker computes scores as transformers does (`exact_math.py`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringParameters:
    """What a scoring request asks of the worker, as it travels in `SamplingParams.extra_args`."""

    start: int
    temperature: float

    def as_extra_args(self) -> dict[str, Any]:
        """Write the parameters for the way to the worker."""
        return {START_KEY: self.start, TEMPERATURE_KEY: self.temperature}


def scoring_parameters(extra_args: Mapping[str, Any] | None) -> ScoringParameters | None:
    """Read the parameters back; None for a request that is not ours."""
    if not extra_args or START_KEY not in extra_args:
        return None
    return ScoringParameters(start=int(extra_args[START_KEY]), temperature=float(extra_args[TEMPERATURE_KEY]))


def wanted_rows(*, computed: int, scheduled: int, start: int, length: int) -> range:
    """Rows among [computed, computed + scheduled) whose next token stands at `start` or later.

    Row r holds the hidden state that predicts token r + 1; the last token predicts none of the prompt.
    """
    first = max(computed, start - 1)
    return range(first, max(first, min(computed + scheduled, length - 1)))


def target_logprobs(logits_RV: torch.Tensor, *, targets_R: torch.Tensor, temperatures_R: torch.Tensor) -> torch.Tensor:
    """Natural log-prob of one target per row, logits divided by the row's temperature; float32.

    Works in place on float32 logits: another tensor of this size costs more than the arithmetic.
    """
    scaled_RV = logits_RV.float().div_(temperatures_R[:, None])
    top_R = scaled_RV.amax(dim=-1)
    chosen_R = scaled_RV.gather(1, targets_R[:, None])[:, 0] - top_R
    return chosen_R - scaled_RV.sub_(top_R[:, None]).exp_().sum(dim=-1).log()
