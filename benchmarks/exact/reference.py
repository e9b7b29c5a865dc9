"""What log-probs are held against: one forward of transformers for each sequence, alone, softmax in float64."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM


def load_reference(folder: Path) -> Any:
    """Load the model as transformers does, in float32."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def reference_logprobs(
    model: Any, ids: Sequence[int], *, start: int, temperatures: Sequence[float], never: Sequence[int] = ()
) -> dict[float, list[float]]:
    """Give the log-probs of a sequence's tokens from `start` on, by temperature, among all tokens but `never`."""
    targets_T1 = torch.tensor(ids[start:])[:, None]
    with torch.inference_mode():
        logits_TV = model(torch.tensor([list(ids)])).logits[0, start - 1 : -1].double()
        logits_TV[:, list(never)] = -torch.inf
        return {t: (logits_TV / t).log_softmax(dim=-1).gather(1, targets_T1)[:, 0].tolist() for t in temperatures}


def float64_logprobs(model: Any, ids: Sequence[int], *, start: int, temperature: float) -> list[float]:
    """Give them by a float64 forward of the same weights: what both engines round."""
    model.double()
    try:
        return reference_logprobs(model, ids, start=start, temperatures=(temperature,))[temperature]
    finally:
        model.float()
