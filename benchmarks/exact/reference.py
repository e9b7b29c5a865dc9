"""What scores are held against: one float32 forward of transformers for each sequence, alone, softmax in float64."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from benchmarks.exact.items import Item

RANK = 8
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def load_reference(folder: Path) -> Any:
    """Load the model as transformers does."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def with_random_lora(model: Any, *, folder: Path, base_model: str) -> Any:
    """Put a LoRA with random weights on the model and save it to `folder`, as PEFT writes adapters."""
    torch.manual_seed(0)
    wrapped = get_peft_model(model, LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=TARGETS, bias="none"))
    for name, weight in wrapped.named_parameters():
        if "lora_B" in name:  # PEFT begins with zeros, which change nothing
            torch.nn.init.normal_(weight, std=0.02)
    wrapped.peft_config["default"].base_model_name_or_path = base_model
    wrapped.save_pretrained(str(folder))
    return wrapped.eval()


def reference_logprobs(
    model: Any, items: Sequence[Item], *, temperatures: Sequence[float]
) -> Iterator[dict[float, list[float]]]:
    """Yield each item's log-probs from its start on, by temperature."""
    for item in items:
        ids = item.sequence.token_ids
        with torch.inference_mode():
            logits_TV = model(torch.tensor([ids])).logits[0, item.start - 1 : -1].double()
            targets_T1 = torch.tensor(ids[item.start :])[:, None]
            yield {t: (logits_TV / t).log_softmax(dim=-1).gather(1, targets_T1)[:, 0].tolist() for t in temperatures}
