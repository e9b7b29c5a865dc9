"""A fully trained model of a base's shape, made without training: a random adapter that is merged into all weights."""

import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file


def write_whole_model(wrapped: Any, folder: Path, *, base: Path) -> None:
    """Write config and weights to `folder`, named as in the base's file; `wrapped` is what `with_random_lora` gave.

    What it says is not the base's, and holds no more control tokens than an adapter's answers do.
    """
    merged = wrapped.merge_and_unload().state_dict()
    folder.mkdir(parents=True)
    shutil.copyfile(base / "config.json", folder / "config.json")
    tensors = {
        name: merged[name].to(tensor.dtype).contiguous()
        for name, tensor in load_file(base / "model.safetensors").items()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
