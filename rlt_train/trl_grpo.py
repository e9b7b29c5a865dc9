"""Own the import of TRL's GRPO trainer without vLLM, which TRL 1.16.0 imports wherever it is installed.

Here rollouts go over HTTP: vLLM would cost each trainer process seconds and memory for nothing.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["GRPOTrainer", "split_tensor_dict"]


@contextmanager
def _without(package: str) -> Iterator[None]:
    """Let a package count as not installed; one that is imported already stays."""
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment] - Python's own mark for what cannot be imported
    try:
        yield
    finally:
        del sys.modules[package]


with _without("vllm"), warnings.catch_warnings():
    # Where vLLM is found all the same: its version does not matter to what is used here.
    warnings.filterwarnings("ignore", message="TRL currently supports vLLM", category=UserWarning)
    from trl.trainer.grpo_trainer import GRPOTrainer
    from trl.trainer.utils import split_tensor_dict
