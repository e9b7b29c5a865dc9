"""Own what the operating system offers to leave no process behind: adoption of orphans, ends, reaping."""

import contextlib
import ctypes
import os
import select
import sys
from collections.abc import Collection, Sequence
from typing import Final

import psutil

FAST_GRACE_S: Final = 3.0
"""Between SIGTERM and SIGKILL when there is no time to drain."""
KILL_WAIT_S: Final = 5.0

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Adopt orphans among the descendants, so that they can be found and ended (Linux; elsewhere nothing)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signal_number: int) -> None:
    """Ask the kernel to send this signal to the calling process when its parent ends (Linux; elsewhere nothing)."""
    _prctl(_PR_SET_PDEATHSIG, signal_number)


def descendants() -> list[psutil.Process]:
    """List every process below this one."""
    return psutil.Process().children(recursive=True)


def end(found: Sequence[psutil.Process], *, grace_s: float) -> None:
    """End processes: SIGTERM, SIGKILL after the grace, and wait until they are gone."""
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(found, timeout=grace_s)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=KILL_WAIT_S)


def end_orphans(known_pids: Collection[int]) -> int:
    """End adopted orphans and all below them: direct children that nobody here started. Gives how many there were."""
    orphans = [child for child in psutil.Process().children() if child.pid not in known_pids]
    below = [process for orphan in orphans for process in _children_of(orphan)]
    end([*orphans, *below], grace_s=FAST_GRACE_S)
    return len(orphans)


def is_readable(descriptor: int, *, timeout_s: float) -> bool:
    """Tell whether a pipe has something to read or is at its end."""
    return bool(select.select([descriptor], [], [], timeout_s)[0])


def _children_of(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _prctl(option: int, value: int) -> None:
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"prctl({option})")
