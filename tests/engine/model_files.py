"""A tiny model's folder on disk, as transformers lays one out, for tests that change it and look who notices."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from rlt_core.artifacts import MODEL_CONFIG, weights_sha256
from rlt_service.engine.protocol import FullRef

CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 8,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 4,
    "vocab_size": 32,
    "tie_word_embeddings": True,
    "dtype": "float32",
    "eos_token_id": 2,
}
SHAPES = {
    "model.embed_tokens.weight": (32, 8),
    "model.layers.0.mlp.up_proj.weight": (16, 8),
    "model.norm.weight": (8,),
}


def tensors(*, seed: int = 0) -> dict[str, np.ndarray]:
    dice = np.random.default_rng(seed)
    return {name: dice.standard_normal(shape).astype(np.float32) for name, shape in SHAPES.items()}


def write_model(folder: Path, *, seed: int = 0, config: dict[str, Any] | None = None) -> Path:
    """Write config and weights; `config` overrides single entries, None takes one out."""
    folder.mkdir(parents=True, exist_ok=True)
    stated = {key: value for key, value in (CONFIG | (config or {})).items() if value is not None}
    (folder / MODEL_CONFIG).write_text(json.dumps(stated), encoding="utf-8")
    save_file(tensors(seed=seed), folder / "model.safetensors")
    return folder


def full_ref(folder: Path, *, version: str = "algebra@4") -> FullRef:
    return FullRef(version=version, path=folder, sha256=weights_sha256(folder))
