"""Own one forward pass over completions of one prompt: whatever they have in common from the start is computed once.

The prompt and all completions form a tree of tokens, laid out as one row: a mask lets each token see its ancestors
alone, and its position is its depth. Same log-probs and gradients as separate rows, from far fewer tokens.
"""

# P prompt tokens, N nodes behind them (distinct beginnings of completions), T = P + N, V vocabulary.
# C tokens of all completions together, one after the other; logprobs are natural logs.

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
    read_N: Tensor
    """For each node, the position whose hidden state predicts it."""
    targets_N: Tensor
    nodes_C: Tensor
    """For each completion token, its node."""


_FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Architectures whose code takes a ready mask and positions as they are; others go the plain way."""


def can_share_prompts(config: PretrainedConfig) -> bool:
    """Tell whether every layer is full attention: only there does a mask alone separate the completions."""
    layers = getattr(config, "layer_types", None)
    if layers is None:
        layers = ["full_attention" if getattr(config, "sliding_window", None) is None else "sliding_attention"]
    return config.model_type in _FAMILIES and all(kind == "full_attention" for kind in layers)


def build_tree(prompt_P: Tensor, completions: Sequence[Sequence[int]]) -> PromptTree:
    """Grow the tree of completions [C_i] behind their prompt [P]; P is at least 1, no completion is empty."""
    parents, tokens, nodes_C = _grow(completions)
    device, prompt_length = prompt_P.device, prompt_P.numel()
    ancestry_NN = torch.zeros(len(tokens), len(tokens), dtype=torch.bool)
    for node, parent in enumerate(parents):
        if parent is not None:
            ancestry_NN[node] = ancestry_NN[parent]
        ancestry_NN[node, node] = True
    mask_TT = torch.ones(prompt_length + len(tokens), prompt_length + len(tokens), dtype=torch.bool).tril()
    mask_TT[prompt_length:, prompt_length:] = ancestry_NN
    positions_T = torch.cat([torch.arange(prompt_length), prompt_length - 1 + ancestry_NN.sum(1)])
    read_N = torch.tensor([prompt_length - 1 if parent is None else prompt_length + parent for parent in parents])
    targets_N = torch.tensor(tokens, device=device)
    return PromptTree(
        input_ids_1T=torch.cat([prompt_P, targets_N])[None],
        position_ids_1T=positions_T.to(device)[None],
        mask_11TT=mask_TT.to(device)[None, None],
        read_N=read_N.to(device),
        targets_N=targets_N,
        nodes_C=torch.tensor(nodes_C, device=device),
    )


def tree_logprobs(model: torch.nn.Module, tree: PromptTree, *, temperature: float) -> tuple[Tensor, Tensor]:
    """Compute log-probs [C] of the completion tokens, logits divided by `temperature`, and entropies [C] (no gradient).

    The vocabulary is only projected to at the N positions that predict a node.
    """
    logits_NV = model(
        input_ids=tree.input_ids_1T,
        attention_mask=tree.mask_11TT,
        position_ids=tree.position_ids_1T,
        use_cache=False,
        logits_to_keep=tree.read_N,
    ).logits[0]
    logprobs_NV = torch.log_softmax(logits_NV.float() / temperature, dim=-1)
    logprobs_N = logprobs_NV.gather(-1, tree.targets_N[:, None])[:, 0]
    with torch.no_grad():
        entropies_N = -(logprobs_NV.exp() * logprobs_NV).sum(-1)
    return logprobs_N[tree.nodes_C], entropies_N[tree.nodes_C]


def _grow(completions: Sequence[Sequence[int]]) -> tuple[list[int | None], list[int], list[int]]:
    """Give parents [N] and tokens [N] of the distinct beginnings as they first appear, and the nodes [C]."""
    known: dict[tuple[int | None, int], int] = {}
    nodes_C: list[int] = []
    for completion in completions:
        parent: int | None = None
        for token in completion:
            parent = known.setdefault((parent, token), len(known))
            nodes_C.append(parent)
    return [parent for parent, _ in known], [token for _, token in known], nodes_C
