"""Own one forward pass over completions that share a prompt: the prompt is computed once, not once a completion.

Completions lie behind the prompt in one row; a mask lets each see the prompt and itself alone, and positions restart
after the prompt. Same log-probs and gradients as separate rows, for P + sum(C) tokens instead of sum(P + C).
"""

# P prompt tokens, C tokens of all completions together, T = P + C, V vocabulary; logprobs are natural logs.

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PretrainedConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTree:
    """One prompt with its completions, as one row for the model."""

    input_ids_1T: Tensor
    position_ids_1T: Tensor
    mask_11TT: Tensor
    """True where the row's query may see the column's key."""
    read_C: Tensor
    """For each completion token, the position whose hidden state predicts it."""
    targets_C: Tensor
    lengths: tuple[int, ...]


_FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Architectures whose code takes a ready mask and positions as they are; others go the plain way."""


def can_share_prompts(config: PretrainedConfig) -> bool:
    """Tell whether every layer is full attention: only there does a mask alone separate the completions."""
    layers = getattr(config, "layer_types", None)
    if layers is None:
        layers = ["full_attention" if getattr(config, "sliding_window", None) is None else "sliding_attention"]
    return config.model_type in _FAMILIES and all(kind == "full_attention" for kind in layers)


def build_tree(prompt_P: Tensor, completions: Sequence[Tensor]) -> PromptTree:
    """Lay completions [C_i] behind their prompt [P]; P is at least 1, no completion is empty."""
    device, prompt_length = prompt_P.device, prompt_P.numel()
    lengths = tuple(completion.numel() for completion in completions)
    owners = [torch.full((length,), index, device=device) for index, length in enumerate(lengths, start=1)]
    owner_T = torch.cat([torch.zeros(prompt_length, dtype=torch.long, device=device), *owners])
    order_T = torch.arange(owner_T.numel(), device=device)
    same = owner_T[:, None] == owner_T[None, :]
    mask_TT = (same | (owner_T == 0)[None, :]) & (order_T[None, :] <= order_T[:, None])
    starts = prompt_length + torch.tensor([0, *lengths], device=device).cumsum(0)[:-1]
    offsets_C = torch.cat([torch.arange(length, device=device) for length in lengths])
    positions_T = torch.cat([torch.arange(prompt_length, device=device), prompt_length + offsets_C])
    own_C = torch.repeat_interleave(starts, torch.tensor(lengths, device=device)) + offsets_C
    return PromptTree(
        input_ids_1T=torch.cat([prompt_P, *completions])[None],
        position_ids_1T=positions_T[None],
        mask_11TT=mask_TT[None, None],
        read_C=torch.where(offsets_C == 0, prompt_length - 1, own_C - 1),
        targets_C=torch.cat(list(completions)),
        lengths=lengths,
    )


def tree_logprobs(model: torch.nn.Module, tree: PromptTree, *, temperature: float) -> tuple[Tensor, Tensor]:
    """Compute log-probs [C] of the completion tokens, logits divided by `temperature`, and entropies [C] (no gradient).

    The vocabulary is only projected to at the C positions that are read.
    """
    logits_CV = model(
        input_ids=tree.input_ids_1T,
        attention_mask=tree.mask_11TT,
        position_ids=tree.position_ids_1T,
        use_cache=False,
        logits_to_keep=tree.read_C,
    ).logits[0]
    logprobs_CV = torch.log_softmax(logits_CV.float() / temperature, dim=-1)
    logprobs_C = logprobs_CV.gather(-1, tree.targets_C[:, None])[:, 0]
    with torch.no_grad():
        entropies_C = -(logprobs_CV.exp() * logprobs_CV).sum(-1)
    return logprobs_C, entropies_C
