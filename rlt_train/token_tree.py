"""Own one forward pass over many completions: whatever sequences have in common from their start is computed once.

Prompts and completions form a tree of tokens, laid out as one row: a mask lets each token see its ancestors alone,
and its position is its depth. Same log-probs and gradients as separate rows, from far fewer tokens.
"""

# T nodes (distinct beginnings of sequences), R of them read (those in completions), V vocabulary.
# C tokens of all completions together, one after the other; logprobs are natural logs.

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PretrainedConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTree:
    """Sequences as one row for the model."""

    input_ids_1T: Tensor
    position_ids_1T: Tensor
    mask_11TT: Tensor
    """True where the row's query may see the column's key."""
    read_R: Tensor
    """For each node of a completion, the position whose hidden state predicts it."""
    targets_R: Tensor
    reads_C: Tensor
    """For each completion token, its place in R."""


_FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3"})
"""Architectures whose code takes a ready mask and positions as they are; others go the plain way."""


def can_share_beginnings(config: PretrainedConfig) -> bool:
    """Tell whether every layer is full attention: only there does a mask alone separate the sequences."""
    layers = getattr(config, "layer_types", None)
    if layers is None:
        layers = ["full_attention" if getattr(config, "sliding_window", None) is None else "sliding_attention"]
    return config.model_type in _FAMILIES and all(kind == "full_attention" for kind in layers)


def build_tree(rows: Sequence[tuple[Sequence[int], Sequence[int]]], *, device: torch.device) -> TokenTree:
    """Grow the tree of (prompt, completion) rows; no prompt and no completion is empty."""
    parents, tokens, nodes_C = _grow(rows)
    ancestry_TT = torch.zeros(len(tokens), len(tokens), dtype=torch.bool)
    for node, parent in enumerate(parents):
        if parent is not None:
            ancestry_TT[node] = ancestry_TT[parent]
        ancestry_TT[node, node] = True
    place = {node: index for index, node in enumerate(sorted(set(nodes_C)))}
    return TokenTree(
        input_ids_1T=torch.tensor([tokens], device=device),
        position_ids_1T=(ancestry_TT.sum(1) - 1).to(device)[None],
        mask_11TT=ancestry_TT.to(device)[None, None],
        read_R=torch.tensor([parents[node] for node in place], device=device),
        targets_R=torch.tensor([tokens[node] for node in place], device=device),
        reads_C=torch.tensor([place[node] for node in nodes_C], device=device),
    )


def tree_logprobs(model: torch.nn.Module, tree: TokenTree, *, temperature: float) -> tuple[Tensor, Tensor]:
    """Compute log-probs [C] of the completion tokens, logits divided by `temperature`, and entropies [C] (no gradient).

    The vocabulary is only projected to at the R positions that predict a completion token.
    """
    logits_RV = model(
        input_ids=tree.input_ids_1T,
        attention_mask=tree.mask_11TT,
        position_ids=tree.position_ids_1T,
        use_cache=False,
        logits_to_keep=tree.read_R,
    ).logits[0]
    logprobs_RV = torch.log_softmax(logits_RV.float() / temperature, dim=-1)
    logprobs_R = logprobs_RV.gather(-1, tree.targets_R[:, None])[:, 0]
    with torch.no_grad():
        entropies_R = -(logprobs_RV.exp() * logprobs_RV).sum(-1)
    return logprobs_R[tree.reads_C], entropies_R[tree.reads_C]


def _grow(rows: Sequence[tuple[Sequence[int], Sequence[int]]]) -> tuple[list[int | None], list[int], list[int]]:
    """Give parents [T] and tokens [T] of the distinct beginnings as they first appear, and completions' nodes [C]."""
    known: dict[tuple[int | None, int], int] = {}
    nodes_C: list[int] = []
    for prompt, completion in rows:
        parent: int | None = None
        for token in prompt:
            parent = known.setdefault((parent, token), len(known))
        for token in completion:
            parent = known.setdefault((parent, token), len(known))
            nodes_C.append(parent)
    return [parent for parent, _ in known], [token for _, token in known], nodes_C
