"""LoRA adapters with random weights on disk, shaped for SmolLM2-135M."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from rlt_core.artifacts import ADAPTER_CONFIG, ADAPTER_WEIGHTS, adapter_sha256
from rlt_service.engine.protocol import AdapterRef

HIDDEN, KEYS, INNER, LAYERS = 576, 192, 1536, 30
SHAPES = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (HIDDEN, KEYS),
    "self_attn.v_proj": (HIDDEN, KEYS),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (HIDDEN, INNER),
    "mlp.up_proj": (HIDDEN, INNER),
    "mlp.down_proj": (INNER, HIDDEN),
}


def random_tensors(*, rank: int = 4, layers: int = LAYERS, seed: int = 0, scale: float = 0.03) -> dict[str, Any]:
    dice = np.random.default_rng(seed)
    tensors: dict[str, Any] = {}
    for layer in range(layers):
        for module, (inputs, outputs) in SHAPES.items():
            name = f"base_model.model.model.layers.{layer}.{module}"
            for side, shape in (("A", (rank, inputs)), ("B", (outputs, rank))):
                tensors[f"{name}.lora_{side}.weight"] = (dice.standard_normal(shape) * scale).astype(np.float32)
    return tensors


def write_adapter(
    folder: Path,
    *,
    version: str = "algebra@1",
    tensors: dict[str, Any] | None = None,
    config: dict[str, Any] | None = None,
    **weights: Any,
) -> AdapterRef:
    """Write both files and name them; `config` overrides single entries of adapter_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    rank = weights.get("rank", 4)
    stated = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": [module.rpartition(".")[2] for module in SHAPES],
        "base_model_name_or_path": "builtin:smollm2-135m",
    }
    (folder / ADAPTER_CONFIG).write_text(json.dumps(stated | (config or {})), encoding="utf-8")
    save_file(random_tensors(**weights) if tensors is None else tensors, folder / ADAPTER_WEIGHTS)
    return AdapterRef(version=version, path=folder, sha256=adapter_sha256(folder))
