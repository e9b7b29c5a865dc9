"""Own the end of what a killed worker's trainer left on this host: processes that carry the mark of an attempt."""

import contextlib
import logging
import os
from pathlib import Path

import psutil

from rlt_core.errors import ConfigurationError
from rlt_service.store.jobs import JobStore

LOGGER = logging.getLogger(__name__)

MARK = "RLT_JOB"
"""Environment variable of a trainer, which whatever it starts inherits: `JOB/ATTEMPT@FOLDER`."""


def mark_of(home: Path, *, job_id: str, attempt: int) -> str:
    """Return the mark of an attempt; raises ConfigurationError where the state folder is gone."""
    return f"{job_id}/{attempt}@{_identity(home)}"


class Strays:
    """Ends processes of this user whose attempt does not run any more, whoever their parent is by now.

    A killed worker cannot end them: it was the one who would have adopted what left the trainer's session. A process
    that has overwritten its environment (as setproctitle does) is not found.
    """

    def __init__(self, home: Path, jobs: JobStore) -> None:
        """Take the state folder, whose marks count here, and the rows, which say what runs."""
        self._home = home
        self._jobs = jobs

    def end(self) -> list[int]:
        """Kill all strays; return their pids. Repeatable."""
        # Processes before rows: an attempt runs before it has a process, so what is seen and does not run, has ended.
        marked = _marked(f"@{_identity(self._home)}")
        if not marked:
            return []
        running = {f"{job.id}/{job.attempt}" for job in self._jobs.running()}
        ended: list[int] = []
        for process, attempt in marked:
            if attempt not in running:
                with contextlib.suppress(psutil.Error):
                    process.kill()
                    ended.append(process.pid)
                    LOGGER.warning("killed process %d, which attempt %s had left behind", process.pid, attempt)
        return ended


def _identity(home: Path) -> str:
    """Name a folder by what the kernel knows it by: two containers may each have a folder of the same path."""
    try:
        found = home.stat()
    except OSError as error:
        raise ConfigurationError(f"the state folder {home} cannot be looked at: {error}") from error
    return f"{found.st_dev}:{found.st_ino}"


def _marked(ending: str) -> list[tuple[psutil.Process, str]]:
    """List this user's processes with a mark that ends so, each with what stands before the ending."""
    user, marked = os.getuid(), list[tuple[psutil.Process, str]]()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            mark = process.environ().get(MARK, "") if process.uids().real == user else ""
            if mark.endswith(ending):
                marked.append((process, mark.removesuffix(ending)))
    return marked
