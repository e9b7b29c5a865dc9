"""LoRA adapters with random weights, as PEFT writes them: what they add to a model is large and meaningless."""

from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

RANK = 8
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def with_random_lora(model: Any, *, folder: Path, base_model: str, seed: int) -> Any:
    """Put a LoRA with random weights on the model and save it to `folder`; `unload()` takes it off again."""
    torch.manual_seed(seed)
    wrapped = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=TARGETS, bias="none"))
    for name, weight in wrapped.named_parameters():
        if "lora_B" in name:  # PEFT begins with zeros, which change nothing
            torch.nn.init.normal_(weight, std=0.02)
    wrapped.peft_config["default"].base_model_name_or_path = base_model
    wrapped.save_pretrained(str(folder), save_embedding_layers=False)
    return wrapped.eval()
