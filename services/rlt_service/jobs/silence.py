"""Own how long a trainer has said nothing: files that stand still, on this process's monotonic clock."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path


class Silence:
    """Looks at files that a trainer appends to: its events and its log."""

    def __init__(self, paths: Sequence[Path], *, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the files, which need not be there yet; the silence begins now."""
        self._paths = paths
        self._clock = clock
        self._sizes = self._look()
        self._since_s = clock()

    def seconds(self) -> float:
        """Return how long none of them has grown, as far as calls of this have seen."""
        sizes = self._look()
        if sizes != self._sizes:
            self._sizes, self._since_s = sizes, self._clock()
        return self._clock() - self._since_s

    def _look(self) -> list[int]:
        return [_size(path) for path in self._paths]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
