"""The most memory that this process and its children held since the last reset (Linux: VmHWM)."""

from pathlib import Path

import psutil


def reset_peaks() -> None:
    """Begin to count anew."""
    for process in _family():
        Path(f"/proc/{process.pid}/clear_refs").write_text("5", encoding="ascii")


def peak_bytes() -> int:
    """Sum the peaks of all processes."""
    return sum(_peak(process.pid) for process in _family())


def _family() -> list[psutil.Process]:
    here = psutil.Process()
    return [here, *here.children(recursive=True)]


def _peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
