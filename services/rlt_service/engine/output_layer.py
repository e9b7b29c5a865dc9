"""Log-probs of given tokens from hidden states, on CPUs: the output layer by pieces of the vocabulary.

A piece of logits stays in the cores' caches between the product and its log-sum-exp, and no row of logits is ever
whole: memory does not grow with the vocabulary, and torch's products, which add to what they wrote, need no more time
than vLLM's.

Leans on the inside of vLLM 0.32: `logits_processor` and `lm_head` of its models, and that its CPU layers keep the plain
weight of the output layer.
"""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

# R rows of hidden states whose next token is wanted, H their width, V vocabulary, P pieces of it

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import nn

PIECE = 2048
"""Words of the vocabulary at once: of 512 rows 4 MB of logits."""

_ROWS_PROVEN = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputLayer:
    """The weight that gives logits of a model which adds nothing to the product: no cap, no scale, no bias."""

    weight_VH: torch.Tensor

    @classmethod
    def of(cls, model: Any) -> Self | None:
        """Find a model's; None where logits are more than one product of float32, which the model must compute then."""
        processor, head = (_plain(getattr(model, name, None)) for name in ("logits_processor", "lm_head"))
        weight: Any
        weight, words = getattr(head, "weight", None), getattr(processor, "org_vocab_size", 0)
        is_plain = (
            isinstance(weight, torch.Tensor)
            and weight.dtype == torch.float32
            and weight.ndim == 2
            and 0 < words <= len(weight)
            and getattr(head, "bias", None) is None
            and getattr(head, "tp_size", 1) == 1
            and processor.soft_cap is None
            and processor.scale == 1.0
            and processor.head_dtype in {None, torch.float32}
            and not processor.logits_as_input
            and type(processor).__name__ == "LogitsProcessor"
        )
        return cls(weight_VH=weight.data[:words]) if is_plain else None

    @classmethod
    def proven(cls, model: Any, hidden_RH: torch.Tensor) -> Self | None:
        """Find a model's, and have it give the logits of some rows as the model does: a model may do more than that."""
        if (layer := cls.of(model)) is None:
            return None
        some_RH = hidden_RH[:_ROWS_PROVEN]
        logits_RV, expected_RV = nn.functional.linear(some_RH, layer.weight_VH), model.compute_logits(some_RH)
        same = logits_RV.shape == expected_RV.shape and torch.allclose(logits_RV, expected_RV, rtol=1e-3, atol=1e-3)
        return layer if same else None

    def target_logprobs(
        self, hidden_RH: torch.Tensor, *, targets_R: torch.Tensor, temperatures_R: torch.Tensor
    ) -> torch.Tensor:
        """Natural log-prob of one target per row, logits divided by the row's temperature; float32."""
        tops, sums, chosen_R = [], [], torch.full((len(hidden_RH),), torch.nan)
        for first in range(0, len(self.weight_VH), PIECE):
            logits_RV = nn.functional.linear(hidden_RH, self.weight_VH[first : first + PIECE])
            logits_RV.div_(temperatures_R[:, None])
            inside_R = (targets_R >= first) & (targets_R < first + PIECE)
            chosen_R[inside_R] = logits_RV[inside_R, targets_R[inside_R] - first]
            top_R = logits_RV.amax(dim=-1)
            tops.append(top_R)
            sums.append(logits_RV.sub_(top_R[:, None]).exp_().sum(dim=-1))
        tops_RP, sums_RP = torch.stack(tops, dim=1), torch.stack(sums, dim=1)
        top_R = tops_RP.amax(dim=-1)
        total_R = (sums_RP * (tops_RP - top_R[:, None]).exp()).sum(dim=-1)
        return chosen_R - top_R - total_R.log()


def _plain(part: Any) -> Any:
    """Look inside what vLLM wraps around a layer for LoRA."""
    return getattr(part, "base_layer", part)
