"""Arithmetic that scoring needs, and what this machine's cores can do: how near to it a contender comes."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.score.workloads import Item


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """Weights that each token meets; multiply-adds count as two operations."""

    body: int
    """Of all layers, without embedding and output layer."""
    output: int
    layers: int
    width: int
    """Heads times their width: attention costs 4 · width a pair of positions."""


def model_size(folder: Path) -> ModelSize:
    """Read the sizes from a Llama-like config.json."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    hidden, inner, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    head = config.get("head_dim") or hidden // heads
    keys = config["num_key_value_heads"] * head
    layer = hidden * (heads * head) * 2 + hidden * keys * 2 + 3 * hidden * inner
    return ModelSize(
        body=layer * config["num_hidden_layers"],
        output=hidden * config["vocab_size"],
        layers=config["num_hidden_layers"],
        width=heads * head,
    )


def needed_flops(items: Sequence[Item], *, size: ModelSize, shared_prefix: bool, rss_only: bool) -> float:
    """Count the least arithmetic: a group's shared beginning once, logits only of wanted positions."""
    total = 0.0
    prefix = items[0].explanation_start if shared_prefix else 0
    for number, item in enumerate(items):
        length, start = len(item.token_ids), prefix if number else 0
        wanted = length - (item.solution_start if rss_only else item.explanation_start)
        pairs = (length * (length + 1) - start * (start + 1)) / 2
        total += 2 * size.body * (length - start) + 2 * size.output * wanted + 4 * size.width * size.layers * pairs
    return total


def matrix_peak(*, threads: int, seconds: float = 3.0) -> float:
    """Measure float32 matrix products, operations a second: the best of several."""
    import torch

    torch.set_num_threads(threads)
    left, right = torch.randn(2048, 2048), torch.randn(2048, 2048)
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        before = time.perf_counter()
        torch.matmul(left, right)
        best = max(best, 2 * 2048**3 / (time.perf_counter() - before))
    return best
