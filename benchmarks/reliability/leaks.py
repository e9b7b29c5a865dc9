"""Own the watch over memory and file descriptors of processes that live through a whole run, or come again in it."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

GROWTH = 1.10
"""Largest share by which resident memory may have grown from the first third of a run to the last."""
MORE_MIB = 8.0
"""Growth that is none, however small the process was."""
MORE_DESCRIPTORS = 8
ENOUGH_LOOKS = 6


@dataclass(slots=True)
class Leaks:
    """Samples of one process, or of each that takes its place."""

    name: str
    process: Callable[[], psutil.Process]
    """Gives it as it is now; raises psutil.Error while there is none."""
    counts_descriptors: bool = True
    """Not where they are its clients', which come and go with its restarts."""
    memory_mib: list[float] = field(default_factory=list[float])
    descriptors: list[int] = field(default_factory=list[int])

    def look(self) -> None:
        """Take a sample, where there is something to look at."""
        try:
            process = self.process()
            memory_mib, descriptors = process.memory_info().rss / 2**20, process.num_fds()
        except psutil.Error:
            return
        self.memory_mib.append(memory_mib)
        self.descriptors.append(descriptors)

    def growth(self) -> tuple[float, float]:
        """Give memory's last third over its middle third (the first is the start), and descriptors' difference."""
        return _last(self.memory_mib) / _middle(self.memory_mib), _last(self.descriptors) - _middle(self.descriptors)

    def figures(self) -> dict[str, float]:
        """Give the growth by the process's name; nothing where too little was seen."""
        if len(self.memory_mib) < ENOUGH_LOOKS:
            return {}
        memory, descriptors = self.growth()
        return {f"memory of {self.name}": round(memory, 3), f"more descriptors of {self.name}": descriptors}

    def faults(self) -> list[str]:
        """Say what grew."""
        if len(self.memory_mib) < ENOUGH_LOOKS:
            return [f"{self.name}: only {len(self.memory_mib)} looks"]
        memory, descriptors = self.growth()
        more_mib = _last(self.memory_mib) - _middle(self.memory_mib)
        found: list[str] = []
        if memory > GROWTH and more_mib > MORE_MIB:
            found.append(f"{self.name}: memory grew to {memory:.2f} times, by {more_mib:.0f} MiB")
        if self.counts_descriptors and descriptors > MORE_DESCRIPTORS:
            found.append(f"{self.name}: {descriptors:.0f} more file descriptors")
        return found


def _middle(samples: list[float] | list[int]) -> float:
    third = len(samples) // 3
    return statistics.median(samples[third : 2 * third])


def _last(samples: list[float] | list[int]) -> float:
    return statistics.median(samples[-(len(samples) // 3) :])
