"""Own the watch over memory and file descriptors of processes that live through a whole run."""

import statistics
from dataclasses import dataclass, field

import psutil

GROWTH = 1.10
"""Largest share by which resident memory may have grown from the first third of a run to the last."""
MORE_DESCRIPTORS = 8


@dataclass(slots=True)
class Leaks:
    """Samples of one process."""

    name: str
    process: psutil.Process
    memory_mib: list[float] = field(default_factory=list[float])
    descriptors: list[int] = field(default_factory=list[int])

    def look(self) -> None:
        """Take a sample; a process that is gone is not looked at again."""
        try:
            memory_mib, descriptors = self.process.memory_info().rss / 2**20, self.process.num_fds()
        except psutil.Error:
            return
        self.memory_mib.append(memory_mib)
        self.descriptors.append(descriptors)

    def growth(self) -> tuple[float, float]:
        """Give memory's last third over its middle third (the first is the start), and descriptors' difference."""
        return _last(self.memory_mib) / _middle(self.memory_mib), _last(self.descriptors) - _middle(self.descriptors)

    def faults(self) -> list[str]:
        """Say what grew."""
        if len(self.memory_mib) < 6:
            return [f"{self.name}: only {len(self.memory_mib)} looks"]
        memory, descriptors = self.growth()
        found = [f"{self.name}: memory grew to {memory:.2f} times"] if memory > GROWTH else []
        if descriptors > MORE_DESCRIPTORS:
            found.append(f"{self.name}: {descriptors:.0f} more file descriptors")
        return found


def _middle(samples: list[float] | list[int]) -> float:
    third = len(samples) // 3
    return statistics.median(samples[third : 2 * third])


def _last(samples: list[float] | list[int]) -> float:
    return statistics.median(samples[-(len(samples) // 3) :])
