"""Own how long work waited for its turn before an engine, counted in buckets as Prometheus reads them. Pure."""

from collections.abc import Mapping

BOUNDS_S = (0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0)
"""From a turn that is free to the end of a bulk caller's batch."""


class Waits:
    """A histogram that only grows."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_S) + 1)
        self.total_s = 0.0

    def note(self, seconds: float) -> None:
        """Count one wait."""
        place = next((place for place, bound in enumerate(BOUNDS_S) if seconds <= bound), len(BOUNDS_S))
        self._counts[place] += 1
        self.total_s += seconds

    @property
    def buckets(self) -> Mapping[str, int]:
        """Give how many waited at most so many seconds, by the bound as Prometheus writes it."""
        below, found = 0, dict[str, int]()
        for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), self._counts, strict=True):
            below += count
            found[bound] = below
        return found
