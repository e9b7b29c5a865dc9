"""Choose dtype and threads for the machine that runs the engine. No torch."""

import os
from pathlib import Path

# Arithmetic units that multiply bfloat16; without one it is emulated, 5-7 times slower than float32.
_BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


def choose_dtype(setting: str, *, on_cpu: bool, cpu_flags: frozenset[str]) -> str:
    """Resolve `auto`: float32 on CPUs that only emulate bfloat16, else bfloat16."""
    if setting != "auto":
        return setting
    return "float32" if on_cpu and not cpu_flags & _BF16_FLAGS else "bfloat16"


def read_cpu_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """Read the CPU's feature flags; none where the system does not list them."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = (line.partition(":")[2] for line in lines if line.lower().startswith(("flags", "features")))
    return frozenset(next(flags, "").split())


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
