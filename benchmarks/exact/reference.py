"""What scores are held against: one float32 forward of transformers for each sequence, alone, softmax in float64."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from benchmarks.exact.items import Item


def load_reference(folder: Path) -> Any:
    """Load the model as transformers does."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


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


def exact_logprobs(model: Any, item: Item, *, temperature: float) -> list[float]:
    """Give an item's log-probs by a float64 forward of the same weights: what both engines round."""
    ids = item.sequence.token_ids
    targets_T1 = torch.tensor(ids[item.start :])[:, None]
    model.double()
    try:
        with torch.inference_mode():
            logits_TV = model(torch.tensor([ids])).logits[0, item.start - 1 : -1]
            return (logits_TV / temperature).log_softmax(dim=-1).gather(1, targets_T1)[:, 0].tolist()
    finally:
        model.float()
