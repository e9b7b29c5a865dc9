"""Apply LoRA on a CPU: one pair of matrix products per adapter in the batch.

Leans on the inside of vLLM 0.32, whose CPU code (`lora/ops/torch_ops`) copies the adapter's whole matrices once for
every token, and gives tokens of the base model, which it marks with -1, the weights of the last slot.
"""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

# T tokens of the batch; an adapter's slot holds A [rank, in] and B [out, rank]

from typing import TYPE_CHECKING, Any

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

if TYPE_CHECKING:
    from vllm.lora.layers import LoRAMapping
    from vllm.lora.model_manager import LoRAModelManager


class GroupedLoRA(PunicaWrapperCPU):
    """Groups the batch's tokens by adapter slot; tokens of the base model belong to no group."""

    def __init__(self, *, max_batched_tokens: int, max_batches: int, device: torch.device) -> None:
        super().__init__(max_batched_tokens, max_batches, device)
        self._groups: list[tuple[int, torch.Tensor | None]] = []

    def update_metadata(
        self,
        mapping: "LoRAMapping",
        lora_index_to_id: list[int | None],
        max_loras: int,
        vocab_size: int,
        **kwargs: Any,
    ) -> None:
        """Note which tokens use which slot; None stands for all tokens."""
        super().update_metadata(mapping, lora_index_to_id, max_loras, vocab_size, **kwargs)
        self._groups = group_tokens(self.token_lora_indices)

    def add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: tuple[torch.Tensor, ...],
        lora_b_stacked: tuple[torch.Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        *,
        buffer: tuple[torch.Tensor, ...] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add (x A^T) B^T · scale of each token's own adapter to `y`, slice by slice of a packed layer."""
        outputs, inputs = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
        for slot, tokens in self._groups:
            rows = inputs if tokens is None else inputs[tokens]
            deltas = [(rows @ a[slot, 0].T) @ b[slot, 0].T for a, b in zip(lora_a_stacked, lora_b_stacked, strict=True)]
            _add(outputs, deltas, tokens=tokens, scale=scale, widths=output_slices)


def group_tokens(slots_T: torch.Tensor) -> list[tuple[int, torch.Tensor | None]]:
    """List each adapter slot with its tokens' rows (None: all of them); slot -1, the base model, is left out."""
    present = torch.unique(slots_T).tolist()
    if len(present) == 1:
        return [(present[0], None)] if present[0] >= 0 else []
    return [(slot, (slots_T == slot).nonzero()[:, 0]) for slot in present if slot >= 0]


def use_grouped_lora(manager: "LoRAModelManager") -> None:
    """Give every LoRA layer of the model the grouped implementation."""
    for prefix, former in list(manager.punica_wrapper_mapping.items()):
        grouped = GroupedLoRA(
            max_batched_tokens=former._token_lora_indices.shape[0],
            max_batches=former._seq_lengths.shape[0],
            device=former.device,
        )
        manager.punica_wrapper_mapping[prefix] = grouped
        for layer in manager.modules.values():
            if layer.punica_wrapper is former:
                layer.set_mapping(grouped)


def _add(
    outputs: torch.Tensor,
    deltas: list[torch.Tensor],
    *,
    tokens: torch.Tensor | None,
    scale: float,
    widths: tuple[int, ...],
) -> None:
    offset = 0
    for delta, width in zip(deltas, widths, strict=True):
        part = outputs[:, offset : offset + width]
        if tokens is None:
            part.add_(delta, alpha=scale)
        else:
            part.index_add_(0, tokens, delta.to(part.dtype), alpha=scale)
        offset += width
