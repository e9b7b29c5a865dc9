"""Own the end of a trainer's log: what the error of a job carries, whoever ends the job."""

import os
from collections import deque
from pathlib import Path

LOG_TAIL_LINES = 200
_LOG_TAIL_BYTES = 256 * 1024


def log_tail(path: Path) -> str:
    """Return the last lines of a log; empty where there is none that can be read here."""
    if path.is_symlink():
        return ""
    try:
        with path.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_TAIL_BYTES))
            lines = deque(log.read().decode("utf-8", errors="replace").splitlines(), maxlen=LOG_TAIL_LINES)
    except OSError:  # no attempt wrote one, or it lies on another host: no reason to let the job go on without an end
        return ""
    return "\n".join(lines)
