"""Float32 matrix products by torch where many rows are multiplied: oneDNN's, which vLLM uses on CPUs, round twice as much.

Leans on the inside of vLLM 0.32: `model_executor.layers.utils.dispatch_cpu_unquantized_gemm`, which gives each layer its
product once its weights are loaded. The output layer keeps oneDNN's: its one product adds little, and is the slowest.
"""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

import torch
from torch import nn
from vllm.model_executor.layers import utils

FEW_ROWS = 16
"""Up to so many rows, as in generation, oneDNN's stay: there its packed weights are what counts."""


def use_torch_products() -> None:
    """Change how layers multiply that are loaded from now on in this process."""
    theirs = utils.dispatch_cpu_unquantized_gemm

    def dispatch(layer: nn.Module, remove_weight: bool) -> None:
        theirs(layer, remove_weight=False)
        of_few = layer.cpu_linear

        def product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
            few = x.shape[0] <= FEW_ROWS
            return of_few(x, weight, bias) if few else nn.functional.linear(x, layer.weight, bias)

        if remove_weight:  # a layer of the body; the output layer shares its weight with the embedding
            layer.cpu_linear = product

    utils.dispatch_cpu_unquantized_gemm = dispatch
