"""Own the outermost process of `rlt up`: it passes signals on, and sees to it that nothing stays behind.

Two processes watch each other: the tree inside ends when the guard's pipe closes (also after `kill -9`), and the
guard ends whatever a killed tree has left.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

from rlt_service.launch import processes

INSIDE = "--inside-guard"
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(arguments: Sequence[str]) -> int:
    """Start the tree in a session of its own, and wait for its end; gives its exit code."""
    processes.become_subreaper()
    tree: subprocess.Popen[bytes] | None = None
    asked_early = False

    def forward(_signal: int, _frame: FrameType | None) -> None:
        nonlocal asked_early
        if tree is None:
            asked_early = True
            return
        with contextlib.suppress(ProcessLookupError):
            tree.send_signal(signal.SIGTERM)

    for number in FORWARDED:
        signal.signal(number, forward)
    # A session of its own: Ctrl-C reaches the guard alone, and the tree ends its parts in order.
    tree = subprocess.Popen(
        [sys.executable, "-m", "rlt_service.launch", *arguments, INSIDE],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    if asked_early:
        tree.send_signal(signal.SIGTERM)
    code = tree.wait()
    processes.end(processes.descendants(), grace_s=processes.FAST_GRACE_S)
    if code < 0:
        sys.stderr.write(f"error: the launcher inside was ended by {signal.Signals(-code).name}\n")
        return 1
    return code


def is_gone() -> bool:
    """Tell inside the tree whether the guard has ended: its pipe is then at its end."""
    return processes.is_readable(sys.stdin.fileno(), timeout_s=0.0) and os.read(sys.stdin.fileno(), 1) == b""
