"""Own the trainer's process and everything that descends from it: started in a session of its own, ended whole."""

import contextlib
import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from rlt_service.jobs.last_words import log_tail
from rlt_service.store.artifacts import LOG_NAME

_GONE_TIMEOUT_S = 10.0
API_KEY = "RLT_API_KEY"
_PR_SET_CHILD_SUBREAPER = 36


def default_trainer_command() -> tuple[str, ...]:
    """Return the real trainer, in this interpreter."""
    return (sys.executable, "-m", "rlt_train")


def become_subreaper() -> None:
    """Let orphans of a trainer become children of this process, so that they can be found and ended (Linux)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class TrainerProcess:
    """One run of the trainer. Start it from the main thread: Linux ends it when the thread that started it ends."""

    def __init__(
        self, command: Sequence[str], *, job_file: Path, folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Take the command, to which `--job FILE` is added, the attempt's folder, where it runs, and more variables."""
        self._command = [*command, "--job", str(job_file)]
        self._folder = folder
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._strangers: frozenset[psutil.Process] = frozenset()
        self._heard_s = 0.0
        self._longest_silence_s = 0.0

    @property
    def log_path(self) -> Path:
        """What the trainer printed."""
        return self._folder / LOG_NAME

    @property
    def longest_silence_s(self) -> float:
        """The longest time, on this process's clock, for which no beat was sent to it."""
        return max(self._longest_silence_s, time.monotonic() - self._heard_s)

    def start(self) -> None:
        """Start it; raises OSError if the command cannot be run."""
        # Looked at before: children that this process already had are none of the trainer's, nor is what they start.
        self._strangers = frozenset(psutil.Process().children())
        # The folder it runs in is no place to import from.
        inherited = {name: value for name, value in os.environ.items() if name != API_KEY}  # its own key, or none
        environment = inherited | {"PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"} | self._environment
        self._heard_s = time.monotonic()  # before there is a process that another thread might beat
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=environment,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)

    def beat(self) -> None:
        """Tell it that its supervisor still owns the job; one that does not listen is no error."""
        process = self._process
        if process is not None and process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                os.write(process.stdin.fileno(), b".")
                self._longest_silence_s, self._heard_s = self.longest_silence_s, time.monotonic()

    def wait(self, timeout_s: float) -> int | None:
        """Return the exit code (negative: the signal), or None if it still runs after `timeout_s`."""
        if self._process is None:
            raise RuntimeError("the trainer was not started")
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def terminate(self) -> None:
        """Ask it to save and end (SIGTERM)."""
        if self._process is not None:
            self._process.terminate()

    def end(self) -> list[int]:
        """Kill it and all that descends from it; return pids that remain even so. Repeatable."""
        process = self._process
        if process is None:
            return []
        deadline = time.monotonic() + _GONE_TIMEOUT_S
        while True:
            # Again and again, since what is being killed may start another in the meantime.
            for child in self._descendants():
                with contextlib.suppress(psutil.Error):
                    child.kill()
            if process.poll() is None:
                process.kill()
                process.wait()
            remaining = [child for child in self._descendants() if child.pid != process.pid]
            # Waiting reaps those that became our children; psutil must not reap the trainer, whose code Popen wants.
            _, remaining = psutil.wait_procs(remaining, timeout=0.5)
            if not remaining or time.monotonic() >= deadline:
                break
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        return [child.pid for child in remaining]

    def log_tail(self) -> str:
        """Return the last lines that it printed."""
        return log_tail(self.log_path)

    def _descendants(self) -> list[psutil.Process]:
        """List the trainer, orphans of it that this process has adopted, and all below them."""
        found = newcomers(psutil.Process().children(), strangers=self._strangers)
        below = [process for child in found for process in _below(child)]
        return [*found, *below]


def newcomers(children: Iterable[psutil.Process], *, strangers: Collection[psutil.Process]) -> list[psutil.Process]:
    """Leave out strangers; what has a stranger's number by now is none: psutil compares when they began, too."""
    return [child for child in children if child not in strangers]


def _below(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
