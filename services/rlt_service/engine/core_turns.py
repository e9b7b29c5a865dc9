"""Own the turns of engines that share a machine's cores: one small step at a time, by a lock on a file.

An engine computes a step on all cores, in hundreds of parallel regions with a barrier after each. Two that do so at
once wait at every barrier for threads that the other has pushed aside: each then takes more than three times as long,
where half the machine would make it twice (docs/performance.md, swaps of fully trained versions). So steps that
generate take turns. Large steps (prefills, scores) take none, since they would keep the others waiting for seconds.

A turn lasts until the engine begins its next step: what it does in between, on other threads and in other processes
(the end of a spin at the last barrier, answers, the next schedule), would disturb the others' barriers too.

The lock ends with its process. One that stands still keeps it: then the others go on without turns for a while.
"""

import fcntl
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

TURNS_VARIABLE = "RLT_CORE_TURNS"
"""Names the file for the engine's processes."""
SMALL_STEP_TOKENS = 256
"""Tokens of a step that still takes its turn: generation, and what joins it."""
PATIENCE_S = 1.0
"""A small step takes some hundredths of a second; who has waited this long goes on alone."""
ALONE_S = 30.0
"""How long nobody is waited for after that."""
LOOK_AGAIN_S = 0.0005
LINGER_S = 0.02
"""Who has begun no step for this long has none: an engine decides in some thousandths of a second."""


class CoreTurns:
    """One engine's way to its turn."""

    def __init__(
        self,
        path: Path,
        *,
        linger_s: float = LINGER_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Open two files, which are made if they are not there; raises OSError where that cannot be."""
        self._cores = _opened(path)
        self._waiting = _opened(path.with_name(f"{path.name}.waiting"))
        self._linger_s = linger_s
        self._clock = clock
        self._sleep = sleep
        self._alone_until_s = 0.0
        self._has_turn = False
        self._over_s: float | None = None
        """When a turn that lingers ends, by time.monotonic."""
        self._ended = threading.Condition()
        threading.Thread(target=self._let_go, name="rlt-core-turns", daemon=True).start()

    def begin(self, *, tokens: int) -> None:
        """Wait for this engine's turn, where a step of so many tokens takes one; nobody else waiting, it goes on."""
        with self._ended:
            self._over_s = None
            if self._has_turn and tokens <= SMALL_STEP_TOKENS and not self._others_wait():
                return
            had_turn = self._has_turn
            self._release()
        if tokens > SMALL_STEP_TOKENS:
            return
        if had_turn:
            self._sleep(2 * LOOK_AGAIN_S)  # who waits looks again in this time
        self._has_turn = self._take()

    def end(self) -> None:
        """End the step: the turn ends when the next one begins, or none does for a while."""
        with self._ended:
            if self._has_turn:
                self._over_s = time.monotonic() + self._linger_s
                self._ended.notify()

    def _take(self) -> bool:
        if _lock(self._cores, fcntl.LOCK_EX):
            return True
        began_s = self._clock()
        try:
            while not _lock(self._cores, fcntl.LOCK_EX):
                _lock(self._waiting, fcntl.LOCK_SH)  # again and again: it fails while someone looks who waits
                now_s = self._clock()
                if now_s < self._alone_until_s:
                    return False
                if now_s - began_s > PATIENCE_S:
                    self._alone_until_s = now_s + ALONE_S
                    return False
                self._sleep(LOOK_AGAIN_S)
            return True
        finally:
            fcntl.flock(self._waiting, fcntl.LOCK_UN)

    def _others_wait(self) -> bool:
        if not _lock(self._waiting, fcntl.LOCK_EX):
            return True
        fcntl.flock(self._waiting, fcntl.LOCK_UN)
        return False

    def _release(self) -> None:
        if self._has_turn:
            fcntl.flock(self._cores, fcntl.LOCK_UN)
            self._has_turn = False

    def _let_go(self) -> None:
        with self._ended:
            while True:
                left_s = None if self._over_s is None else self._over_s - time.monotonic()
                if left_s is None or left_s > 0:
                    self._ended.wait(left_s)
                    continue
                self._over_s = None
                self._release()


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock(file: int, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
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
