"""Own what processes hold while a phase runs: the resident memory of each, seen twice a second."""

import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil

LOOK_S = 0.5
ProcessOf = Callable[[], psutil.Process | None]


@dataclass(slots=True)
class Memory:
    """Looks at processes by name until a phase is over."""

    processes: Mapping[str, ProcessOf]
    phases: dict[str, dict[str, list[float]]] = field(default_factory=dict[str, dict[str, list[float]]])
    """By phase and process: resident MiB, in the order of the looks."""

    @contextmanager
    def during(self, phase: str) -> Generator[None]:
        """Look while the block runs."""
        seen = self.phases.setdefault(phase, {name: [] for name in self.processes})
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(LOOK_S):
                for name, process_of in self.processes.items():
                    process = process_of()
                    try:
                        if process is not None:
                            seen[name].append(process.memory_info().rss / 2**20)
                    except psutil.Error:
                        continue

        looking = threading.Thread(target=look, daemon=True)
        looking.start()
        try:
            yield
        finally:
            ended.set()
            looking.join()

    def figures(self) -> dict[str, dict[str, dict[str, float]]]:
        """By phase and process: the median of the first and of the last tenth of the looks, and the most, in MiB."""
        return {
            phase: {name: _summary(values) for name, values in seen.items() if values}
            for phase, seen in self.phases.items()
        }


def _summary(values: list[float]) -> dict[str, float]:
    tenth = max(1, len(values) // 10)
    first, last = sorted(values[:tenth]), sorted(values[-tenth:])
    return {
        "first_mib": round(first[len(first) // 2], 1),
        "last_mib": round(last[len(last) // 2], 1),
        "most_mib": round(max(values), 1),
        "looks": len(values),
    }
