"""Own the hashes of files that have not changed since they were hashed here.

To hash a model's weights takes a second a gigabyte on one core, and engines that compute on all cores then take three
times as long: a promotion would be felt by every request that is in flight.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import TypeAlias

SETTLED_S = 2.0
"""A file that was changed less long ago may change again without a change of its times, which tick coarsely."""

Identity: TypeAlias = tuple[tuple[int, int, int, int, int], ...]


class KnownHashes:
    """What one process has hashed, known by each file's device, inode, size and both times in nanoseconds.

    Every write to a file sets its change time to the machine's clock, and no caller can set it to another.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        """Know nothing yet; `clock` gives seconds since 1970, as the files' times do."""
        self._clock = clock
        self._known: dict[tuple[Path, ...], tuple[Identity, str]] = {}
        self._lock = Lock()

    def sha256(self, paths: Sequence[Path], compute: Callable[[], str]) -> str:
        """Give the hash of these files together: the known one, or what `compute` finds. Raises OSError."""
        key = tuple(paths)
        before = identity_of(paths)
        with self._lock:
            known = self._known.get(key)
        if known is not None and known[0] == before:
            return known[1]
        began_s = self._clock()
        found = compute()
        if _settled(before, began_s):
            with self._lock:
                self._known[key] = (before, found)
        return found


def identity_of(paths: Sequence[Path]) -> Identity:
    """Tell what changes when a file does; opens each, so that a shared file system asks its server. Raises OSError."""
    found: list[tuple[int, int, int, int, int]] = []
    for path in paths:
        with path.open("rb") as handle:
            stat = os.fstat(handle.fileno())
        found.append((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    return tuple(found)


def _settled(identity: Identity, now_s: float) -> bool:
    return all(now_s - max(modified_ns, changed_ns) / 1e9 > SETTLED_S for *_, modified_ns, changed_ns in identity)
