"""Say how far float32 matrix products are from float64, by torch and by vLLM's way on CPUs (oneDNN), and how long.

python -m benchmarks.exact.products --out docs/results/products.json
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rlt_client.demo import provenance
from rlt_service.engine.machine import thread_binding

ROWS = 480
SHAPES = ((576, 1536), (1536, 576), (576, 49152))
"""Inner width and outputs of layers of SmolLM2-135M: up, down, and the output layer."""
REPEATS = 5


def main() -> None:
    """Compare, and write the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exact.products")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(len(thread_binding().split(",")))
    torch.manual_seed(0)
    rows = [_row(width, outputs) for width, outputs in SHAPES]
    facts = {name: getattr(provenance, name)() for name in ("commit", "date", "machine")}
    figures = {"rows": rows, **facts, "command": "python -m benchmarks.exact.products --out docs/results/products.json"}
    options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def _row(width: int, outputs: int) -> dict[str, Any]:
    from vllm import _custom_ops as ops

    left_RK, weight_NK = torch.randn(ROWS, width), torch.randn(outputs, width) / width**0.5
    exact_RN = left_RK.double() @ weight_NK.double().T
    handler = ops.create_onednn_mm(weight_NK.t(), 32)
    ways: dict[str, Callable[[], torch.Tensor]] = {
        "torch": lambda: torch.nn.functional.linear(left_RK, weight_NK),
        "onednn": lambda: ops.onednn_mm(handler, left_RK, None),
    }
    row: dict[str, Any] = {"rows": ROWS, "width": width, "outputs": outputs}
    for name, product in ways.items():
        row[name] = {"rms": float((product().double() - exact_RN).square().mean().sqrt()), "seconds": _seconds(product)}
    return row


def _seconds(product: Callable[[], torch.Tensor]) -> float:
    found: list[float] = []
    for _ in range(REPEATS):
        before = time.perf_counter()
        product()
        found.append(time.perf_counter() - before)
    return min(found)


if __name__ == "__main__":
    main()
