"""A fully trained model of a base's shape, made without training: every weight is there, and it says other things."""

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

CHANGED = "model.norm.weight"
AMPLITUDE = 0.5
"""Each number of the last norm is scaled by 1 plus a wave of this height: log-probs move by whole nats."""


def write_whole_model(folder: Path, *, base: Path) -> Path:
    """Write config and weights of the base to `folder`, with another last norm."""
    folder.mkdir(parents=True)
    shutil.copyfile(base / "config.json", folder / "config.json")
    weights = load_file(base / "model.safetensors")
    norm = weights[CHANGED]
    weights[CHANGED] = norm * (1.0 + AMPLITUDE * np.sin(np.arange(norm.size))).astype(norm.dtype)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
