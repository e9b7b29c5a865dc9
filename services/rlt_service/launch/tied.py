"""Run a command that is told to end when its parent ends: `python -m rlt_service.launch.tied PARENT_PID COMMAND…`.

A wrapper instead of code between fork and exec, which may deadlock where the parent has threads.
"""

import os
import signal
import sys
from collections.abc import Sequence

from rlt_service.launch import processes


def command(arguments: Sequence[str]) -> list[str]:
    """Wrap a command so that it is tied to the calling process."""
    return [sys.executable, "-m", "rlt_service.launch.tied", str(os.getpid()), *arguments]


def main(arguments: Sequence[str]) -> None:
    """Tie this process to its parent, then become the command."""
    parent_pid, wanted = int(arguments[0]), list(arguments[1:])
    processes.die_with_parent(signal.SIGTERM)
    if os.getppid() != parent_pid:
        sys.exit("the parent ended before its child began")
    os.execv(wanted[0], wanted)


if __name__ == "__main__":
    main(sys.argv[1:])
