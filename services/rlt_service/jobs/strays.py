"""Own the end of what a killed worker's trainer left on this host: processes that carry the mark of an attempt."""

import contextlib
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

import psutil

from rlt_core.errors import ConfigurationError
from rlt_service.store.jobs import JobStore

LOGGER = logging.getLogger(__name__)

MARK = "RLT_JOB"
"""Environment variable of a trainer, which whatever it starts inherits: `JOB/ATTEMPT@DEVICE:INODE` of the folder."""
_READ = re.compile(r"([a-z0-9_]{1,64})/([0-9]{1,9})@([0-9]+:[0-9]+)")


def mark_of(home: Path, *, job_id: str, attempt: int) -> str:
    """Return the mark of an attempt; raises ConfigurationError where the state folder is gone."""
    return f"{job_id}/{attempt}@{_identity(home)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Marked:
    """A process, and the attempt whose mark it carries."""

    process: psutil.Process
    job_id: str
    attempt: int


class Strays:
    """Ends processes of this user whose attempt has ended, whoever their parent is by now.

    A killed worker cannot end them: it was the one who would have adopted what left the trainer's session. What is not
    surely ours is left alone: another user's, of another state folder, of a job that this database does not know, this
    process and those above it, and what does not show its environment or has overwritten it (as setproctitle does).
    """

    def __init__(self, home: Path, jobs: JobStore) -> None:
        """Take the state folder, whose marks count here, and the rows, which say what runs."""
        self._home = home
        self._jobs = jobs

    def end(self) -> list[int]:
        """Kill all strays; return their pids. Repeatable; raises ConfigurationError, UnavailableError."""
        # Processes before rows: an attempt runs before it has a process, so one that does not run has ended.
        marked = _marked(_identity(self._home))
        if not marked:
            return []
        running = self._jobs.running_attempts({found.job_id for found in marked})
        ended: list[int] = []
        for found in marked:
            if found.job_id in running and found.attempt != running[found.job_id]:
                with contextlib.suppress(psutil.Error):  # it has just ended: psutil compares when a process began
                    found.process.kill()
                    ended.append(found.process.pid)
                    left_by = (found.process.pid, found.job_id, found.attempt)
                    LOGGER.warning("killed process %d, left behind by %s, attempt %d", *left_by)
        return ended


def _identity(home: Path) -> str:
    """Name a folder by what the kernel knows it by: two containers may each have a folder of the same path."""
    try:
        found = home.stat()
    except OSError as error:
        raise ConfigurationError(f"the state folder {home} cannot be looked at: {error}") from error
    return f"{found.st_dev}:{found.st_ino}"


def _marked(folder: str) -> list[_Marked]:
    """List this user's processes that carry a mark of a folder, but for this one and those above it."""
    user, this = os.getuid(), psutil.Process()
    spared = {this.pid, *(parent.pid for parent in this.parents())}
    marked: list[_Marked] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid in spared or process.uids().real != user:
                continue
            read = _READ.fullmatch(process.environ().get(MARK, ""))
            if read is not None and read[3] == folder:
                marked.append(_Marked(process=process, job_id=read[1], attempt=int(read[2])))
    return marked
