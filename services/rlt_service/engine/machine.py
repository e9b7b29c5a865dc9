"""Choose dtype and threads for the machine that runs the engine. No torch."""

import os
from pathlib import Path


def choose_dtype(setting: str, *, on_cpu: bool) -> str:
    """Resolve `auto`: float32 on every CPU, bfloat16 on GPUs.

    Without bfloat16 arithmetic it is emulated, 5-7 times slower; with it (AMX, AVX-512-BF16) the same ids scored twice
    differ in the first decimal of a reward, which no trainer can use (docs/decisions/0007).
    """
    if setting != "auto":
        return setting
    return "float32" if on_cpu else "bfloat16"


def choose_max_running(setting: int | None, *, on_cpu: bool) -> int:
    """Resolve null to how many sequences are best generated at a time (docs/results/fairness.json for CPUs)."""
    if setting is not None:
        return setting
    return 32 if on_cpu else 256


def physical_cores(allowed: frozenset[int], topology: Path = Path("/sys/devices/system/cpu")) -> tuple[int, ...]:
    """Pick one logical CPU of each physical core among `allowed`; all of them where the topology is unknown."""
    chosen: dict[str, int] = {}
    for cpu in sorted(allowed):
        try:
            siblings = (topology / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text().strip()
        except OSError:
            siblings = str(cpu)
        chosen.setdefault(siblings, cpu)
    return tuple(chosen.values())


def thread_binding() -> str:
    """List the cores for VLLM_CPU_OMP_THREADS_BIND: all of them (left alone, vLLM keeps one of two for itself)."""
    return ",".join(str(cpu) for cpu in physical_cores(frozenset(os.sched_getaffinity(0))))
