"""Own the turns of engines that share a machine's cores: one small step at a time, by a lock on a file.

An engine computes a step on all cores, in hundreds of parallel regions with a barrier after each. Two that do so at
once wait at every barrier for threads that the other has pushed aside: each then takes more than three times as long,
where half the machine would make it twice (docs/performance.md, swaps of fully trained versions). So steps that
generate take turns. Large steps (prefills) take none, since they would keep the others waiting for seconds; they let
the others' generation end first, though not for long: generation goes first within an engine too (decision 0014).

The lock ends with its process. One that stands still keeps it: then the others go on without turns for a while.
"""

import fcntl
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

TURNS_VARIABLE = "RLT_CORE_TURNS"
"""Names the file for the engine's processes."""
SMALL_STEP_TOKENS = 256
"""Tokens of a step that still takes its turn: generation, and what joins it."""
PATIENCE_S = 1.0
"""A small step takes some hundredths of a second; who has waited this long goes on alone."""
ALONE_S = 30.0
"""How long nobody is waited for after that."""
LOOK_AGAIN_S = 0.0003
GIVE_WAY_S = 1.5
"""How long a large step waits for others' generation at most."""
PAUSE_S = 0.01
"""Who has not computed for this long has no next step: an engine decides in some thousandths of a second."""


class CoreTurns:
    """One engine's way to its turn."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Open the file, which is made if it is not there; raises OSError where that cannot be."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._clock = clock
        self._sleep = sleep
        self._alone_until_s = 0.0

    @contextmanager
    def turn(self, *, tokens: int) -> Generator[None]:
        """Compute a step of so many tokens when it is this engine's turn."""
        if tokens > SMALL_STEP_TOKENS:
            self._give_way()
            yield
            return
        if not self._take():
            yield
            return
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _give_way(self) -> None:
        began_s = quiet_since_s = self._clock()
        while (now_s := self._clock()) - began_s < GIVE_WAY_S and now_s - quiet_since_s < PAUSE_S:
            if now_s < self._alone_until_s:
                return
            if self._free():
                fcntl.flock(self._file, fcntl.LOCK_UN)
            else:
                quiet_since_s = self._clock()
            self._sleep(LOOK_AGAIN_S)

    def _take(self) -> bool:
        began_s = self._clock()
        while not self._free():
            now_s = self._clock()
            if now_s < self._alone_until_s:
                return False
            if now_s - began_s > PATIENCE_S:
                self._alone_until_s = now_s + ALONE_S
                return False
            self._sleep(LOOK_AGAIN_S)
        return True

    def _free(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def turns_of_environment() -> CoreTurns | None:
    """Take part where the server has named a file; None where it has not, or the file cannot be opened."""
    path = os.environ.get(TURNS_VARIABLE)
    if path is None:
        return None
    try:
        return CoreTurns(Path(path))
    except OSError:
        return None
