"""Own the count of requests that run on a version in this process."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager


class Leases:
    """Counts by `name@number`; used from the event loop, read from anywhere."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()

    def in_flight(self, version: str) -> int:
        """Give how many requests run on a version."""
        return self._held[version]

    def versions(self) -> list[str]:
        """Name the versions that requests run on."""
        return list(self._held.copy())

    @contextmanager
    def held(self, version: str) -> Generator[None]:
        """Count one request until the block ends."""
        self._held[version] += 1
        try:
            yield
        finally:
            self._held[version] -= 1
            if not self._held[version]:
                del self._held[version]
