"""Own how large a model and its adapter are, by the model's config alone. Pure but for reading that file; no torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlt_core.artifacts import MODEL_CONFIG


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """A decoder of the Llama kind: grouped attention, a gated inner layer, norms without bias."""

    width: int
    layers: int
    query_width: int
    """Heads times their width."""
    key_width: int
    """Key heads times their width, and so of the values."""
    inner_width: int
    vocabulary: int
    tied: bool
    """Whether the output layer is the table of embeddings."""

    @property
    def parameters(self) -> int:
        """Count the weights; biases and norms of single heads, where a model has them, are below a thousandth."""
        linear = sum(inputs * outputs for inputs, outputs in self._linear.values())
        tables = self.vocabulary * self.width * (1 if self.tied else 2)
        return tables + self.layers * (linear + 2 * self.width) + self.width

    def adapter_parameters(self, *, rank: int, targets: Sequence[str]) -> int:
        """Count the weights of a low-rank adapter: rank times inputs and outputs of each target in each layer."""
        sides = sum(inputs + outputs for name, (inputs, outputs) in self._linear.items() if name in targets)
        return self.layers * rank * sides

    @property
    def activations(self) -> int:
        """Count the numbers that a token leaves behind for the backward pass.

        A layer keeps the inputs of two norms and their outputs; queries, keys and values (these repeated for each query
        head), and what attention gives; of the inner layer: gate, its activation, up, their product.
        """
        attention = 4 * self.width + 4 * self.query_width
        return self.layers * (attention + 4 * self.inner_width)

    @property
    def recomputed_activations(self) -> int:
        """Count them where only each layer's input is kept, and one layer at a time is computed again."""
        return self.layers * self.width + self.activations // self.layers

    @property
    def _linear(self) -> dict[str, tuple[int, int]]:
        return {
            "q_proj": (self.width, self.query_width),
            "k_proj": (self.width, self.key_width),
            "v_proj": (self.width, self.key_width),
            "o_proj": (self.query_width, self.width),
            "gate_proj": (self.width, self.inner_width),
            "up_proj": (self.width, self.inner_width),
            "down_proj": (self.inner_width, self.width),
        }


def shape_of(config: Mapping[str, Any]) -> ModelShape | None:
    """Read a shape from a config.json; None for a model of another kind."""
    if any("expert" in key for key in config):
        return None
    try:
        width, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        head_width = int(config.get("head_dim") or width // heads)
        return ModelShape(
            width=width,
            layers=int(config["num_hidden_layers"]),
            query_width=heads * head_width,
            key_width=int(config.get("num_key_value_heads") or heads) * head_width,
            inner_width=int(config["intermediate_size"]),
            vocabulary=int(config["vocab_size"]),
            tied=bool(config.get("tie_word_embeddings", False)),
        )
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def read_shape(folder: Path) -> ModelShape | None:
    """Read the shape of a model in transformers' layout; None where there is none that is known."""
    try:
        config: object = json.loads((folder / MODEL_CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return shape_of(config) if isinstance(config, dict) else None  # pyright: ignore[reportUnknownArgumentType] - JSON
