"""Own when the trainer must end although its work is not done: SIGTERM, a silent supervisor, a dead parent."""

import contextlib
import ctypes
import fcntl
import os
import select
import signal
import struct
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rlt_core.schemas.trainer import EXIT_LEASE_LOST
from rlt_train.errors import StopRequested

_PR_SET_PDEATHSIG = 1
_MOST_WAITING = 1024
"""Beats that lie in the pipe before they are taken out: a pipe may hold as little as a page."""
LOOKS_A_LEASE = 40
"""So often is a pipe looked at that a rank ends at most a twentieth of a lease too late."""


class StopFlag:
    """SIGTERM as a flag that the work looks at, and as an exception where the work only waits."""

    def __init__(self) -> None:
        self._requested = False
        self._waiting = False

    @property
    def requested(self) -> bool:
        """Whether a stop was asked for."""
        return self._requested

    def request(self) -> None:
        """Ask for a stop; raises StopRequested at once if the main thread only waits for a service."""
        self._requested = True
        if self._waiting:
            self._waiting = False
            raise StopRequested

    def check(self) -> None:
        """Raise StopRequested if a stop was asked for; call it where no weight is being changed."""
        if self._requested:
            raise StopRequested

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Mark a wait that may be left at any moment, because it holds nothing half done.

        Signals reach the main thread alone: in another one, a stop is only looked for before the wait.
        """
        self.check()
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._waiting = True
        try:
            yield
        finally:
            self._waiting = False

    def on_sigterm(self) -> None:
        """Install the handler; main thread only."""

        def handle(_number: int, _frame: FrameType | None) -> None:
            self.request()

        signal.signal(signal.SIGTERM, handle)


def watch_beats(descriptor: int, *, lease_s: float, on_lost: Callable[[], None]) -> threading.Thread:
    """Watch a pipe in a thread of its own: end of file, or no byte for `lease_s`, calls `on_lost` once.

    Bytes are counted and not read: launchers give all ranks the same pipe, and a beat that one reads no other hears.
    """
    look_s = lease_s / LOOKS_A_LEASE

    def watch() -> None:
        with contextlib.suppress(OSError):  # no pipe: nobody beats there
            _until_lost(descriptor, lease_s=lease_s, look_s=look_s)
        on_lost()

    thread = threading.Thread(target=watch, name="rlt-lease", daemon=True)
    thread.start()
    return thread


def _until_lost(descriptor: int, *, lease_s: float, look_s: float) -> None:
    os.set_blocking(descriptor, False)
    end = select.poll()
    end.register(descriptor, 0)  # whatever is asked for, the end of the pipe is told
    waiting, changed_s = _waiting_bytes(descriptor), time.monotonic()
    while time.monotonic() - changed_s < lease_s:
        if end.poll(look_s * 1000):
            return
        now_waiting = _waiting_bytes(descriptor)
        if now_waiting != waiting:
            waiting, changed_s = now_waiting, time.monotonic()
        if waiting > _MOST_WAITING:
            with contextlib.suppress(BlockingIOError):  # another rank was first
                os.read(descriptor, 65536)


def _waiting_bytes(descriptor: int) -> int:
    return struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))[0]


def leave_at_once() -> None:
    """End the process without another write: a newer attempt may own the job. No folder is torn, all are renamed."""
    os._exit(EXIT_LEASE_LOST)


def die_with_parent() -> None:
    """Ask Linux for SIGKILL when the parent dies; elsewhere the silent pipe must do."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        leave_at_once()


def wait(seconds: float, *, stop: StopFlag) -> None:
    """Sleep so that a stop ends it."""
    with stop.waiting():
        time.sleep(seconds)
