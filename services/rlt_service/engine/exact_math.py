"""Compute scored prompts as transformers does on a CPU in float32: products and attention by torch.

vLLM's kernels are for speed: its oneDNN products round about twice as much as torch's, and its attention sums in
another order. Log-probs of SmolLM2-135M then lie up to 2.0e-4 from a transformers forward; with products and attention
by torch all of 237,200 lay within 1e-4 when last compared (docs/performance.md). Steps that score nothing keep vLLM's
kernels, so generation is as fast as ever; the price is the weights of products twice in memory, packed and plain.

Leans on the inside of vLLM 0.32: `model_executor.layers.utils.dispatch_cpu_unquantized_gemm`, which gives a layer its
product once its weights are loaded, `CPUAttentionBackendImpl.forward`, and how its kernels lay the cache out.
"""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

# Q rows computed now, T all tokens of the sequence, H heads, K heads of keys and values, D width of a head
# B blocks of a sequence, N tokens of a block

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
from torch import nn
from vllm.model_executor.layers import utils
from vllm.v1.attention.backend import AttentionType
from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackendImpl


@dataclass(frozen=True, slots=True)
class _Prefix:
    """What of a sequence lies in the cache already: so many tokens, in these blocks."""

    blocks: tuple[int, ...]
    length: int


_ROWS_ATTENDING = 192


class _Step:
    """What of the step that runs is computed by torch; a worker runs one step at a time."""

    scored: frozenset[int] | None = None
    """Places of the scored sequences in the batch; None for a step without any."""
    masks: ClassVar[dict[tuple[int, int], torch.Tensor]] = {}
    """Of this step: every layer asks for the same ones."""
    sequences: ClassVar[list[tuple[Any, list[tuple[slice, _Prefix]]]]] = []
    """By the metadata of a group of layers: rows of each scored sequence in the batch, and what comes before them."""

    @classmethod
    def sequences_of(cls, metadata: Any, *, block: int) -> list[tuple[slice, _Prefix]]:
        """Read them once a step from metadata, which layers share that have their blocks in common."""
        for known, found in cls.sequences:
            if known is metadata:
                return found
        sequences: list[tuple[slice, _Prefix]] = []
        starts, lengths = metadata.query_start_loc.tolist(), metadata.seq_lens.tolist()
        for place in sorted(cls.scored or ()):
            rows = slice(starts[place], starts[place + 1])
            length = lengths[place] - (rows.stop - rows.start)
            blocks = metadata.block_table[place][: -(-length // block)].tolist() if length else ()
            sequences.append((rows, _Prefix(blocks=tuple(blocks), length=length)))
        cls.sequences.append((metadata, sequences))
        return sequences

    @classmethod
    def forget(cls) -> None:
        """Drop what was kept for the step."""
        cls.masks.clear()
        cls.sequences.clear()


@contextmanager
def exact_math(*, scored: Iterable[int] = ()) -> Iterator[None]:
    """Multiply by torch inside, and attend by torch in the sequences at these places of the batch."""
    before, _Step.scored = _Step.scored, frozenset(scored)
    try:
        yield
    finally:
        _Step.scored = before
        _Step.forget()


def use_exact_math() -> None:
    """Give layers that are loaded from now on, and all attention, both ways to compute; once a process."""
    _give_torch_products()
    _give_torch_attention()


def _give_torch_products() -> None:
    theirs = utils.dispatch_cpu_unquantized_gemm

    def dispatch(layer: Any, remove_weight: bool) -> None:
        plain: torch.Tensor = layer.weight.data  # not vLLM's parameter class, which meets every call in Python
        theirs(layer, remove_weight)
        if plain.ndim != 2 or plain.is_meta:
            return
        packed = layer.cpu_linear

        def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
            by_torch = _Step.scored is not None
            return nn.functional.linear(x, plain, bias) if by_torch else packed(x, weight, bias)

        layer.cpu_linear = product

    utils.dispatch_cpu_unquantized_gemm = dispatch


def _give_torch_attention() -> None:
    theirs = CPUAttentionBackendImpl.forward

    def forward(
        self: Any,
        layer: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kv_cache: torch.Tensor,
        attn_metadata: Any,
        output: torch.Tensor,
        *scales: Any,
        **named_scales: Any,
    ) -> torch.Tensor:
        scored, step = _Step.scored, cast("Any", attn_metadata)
        if not (scored and step is not None and step.causal is True and _is_plain(self)):
            return theirs(self, layer, query, key, value, kv_cache, attn_metadata, output, *scales, **named_scales)
        if len(scored) < len(step.seq_lens):
            theirs(self, layer, query, key, value, kv_cache, attn_metadata, output, *scales, **named_scales)
        prefixes: dict[_Prefix, tuple[torch.Tensor, torch.Tensor]] = {}  # of this layer: a group shares one
        for rows, prefix in _Step.sequences_of(step, block=kv_cache.shape[2]):
            keys_TKD, values_TKD = key[rows], value[rows]
            if prefix.length:
                if prefix not in prefixes:
                    prefixes[prefix] = read_cache(kv_cache, torch.tensor(prefix.blocks), length=prefix.length)
                before_TKD = prefixes[prefix]
                keys_TKD = torch.cat([before_TKD[0], keys_TKD])
                values_TKD = torch.cat([before_TKD[1], values_TKD])
            output[rows] = attend(query[rows], keys_TKD, values_TKD, scale=self.scale).reshape(output[rows].shape)
        return output

    CPUAttentionBackendImpl.forward = forward


def _is_plain(attention: Any) -> bool:
    """Tell whether it is causal attention over all tokens, with nothing that models may add to it."""
    return (
        attention.attn_type == AttentionType.DECODER
        and attention.sliding_window == -1
        and attention.alibi_slopes is None
        and not attention.logits_soft_cap
        and attention.sinks is None
        and not attention.is_fp8_kv_cache
        and attention.kv_sharing_target_layer_name is None
    )


def attend(query_QHD: torch.Tensor, keys_TKD: torch.Tensor, values_TKD: torch.Tensor, *, scale: float) -> torch.Tensor:
    """Attend from the last Q of T tokens to each one and what came before it; gives [Q, H, D].

    Some rows at a time, each piece with the tokens that its last row sees: what is masked is computed in vain.
    """
    rows, before = len(query_QHD), len(keys_TKD) - len(query_QHD)
    attended: list[torch.Tensor] = []
    for first in range(0, rows, _ROWS_ATTENDING):
        end = min(first + _ROWS_ATTENDING, rows)
        seen = slice(before + end)
        attended.append(_attend_masked(query_QHD[first:end], keys_TKD[seen], values_TKD[seen], scale))
    return torch.cat(attended)


def _attend_masked(
    query_QHD: torch.Tensor, keys_TKD: torch.Tensor, values_TKD: torch.Tensor, scale: float
) -> torch.Tensor:
    attended_HQD = nn.functional.scaled_dot_product_attention(
        query_QHD.transpose(0, 1)[None],
        keys_TKD.transpose(0, 1)[None],
        values_TKD.transpose(0, 1)[None],
        attn_mask=_mask(len(query_QHD), len(keys_TKD)),
        scale=scale,
        enable_gqa=True,
    )[0]
    return attended_HQD.transpose(0, 1)


def _mask(rows: int, tokens: int) -> torch.Tensor:
    """Give what is added to the weights, [Q, T]: 0 for what a row may see, minus infinity for what comes after it."""
    if (known := _Step.masks.get((rows, tokens))) is None:
        known = _Step.masks[rows, tokens] = torch.full((rows, tokens), -torch.inf).triu(tokens - rows + 1)
    return known


def read_cache(kv_cache: torch.Tensor, blocks: torch.Tensor, *, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Read a sequence's keys and values, [T, K, D] each, from the cache of vLLM's vector kernels.

    `kv_cache` is [all blocks, K, N, 2 D]; of a head's block the first half holds the keys, transposed to [D, N], the
    second half the values, [N, D]. `blocks` names the sequence's blocks in order, and may name more than it needs.
    """
    heads, block, width = kv_cache.shape[1], kv_cache.shape[2], kv_cache.shape[3] // 2
    halves_BK2 = kv_cache[blocks[: -(-length // block)]].view(-1, heads, 2, block * width)
    keys_BKDN = halves_BK2[:, :, 0].view(-1, heads, width, block)
    values_BKND = halves_BK2[:, :, 1].view(-1, heads, block, width)
    keys_TKD = keys_BKDN.permute(0, 3, 1, 2).reshape(-1, heads, width)
    values_TKD = values_BKND.permute(0, 2, 1, 3).reshape(-1, heads, width)
    return keys_TKD[:length], values_TKD[:length]
