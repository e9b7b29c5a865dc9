"""Own one long-running part of `rlt up`: how it is started, where it writes, when it may start again."""

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from rlt_service.launch import tied

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
STEADY_S: Final = 60.0
"""A part that ran this long was well: its next restart does not wait longer than the first."""

_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_LOG_PREFIX = re.compile(
    r"^(\([^)]* pid=\d+\) )?([A-Z]+ [0-9-]{5} [0-9:]{8} \[[^]]*\]|[0-9-]{10} [0-9:,.]+ [A-Z]+ [\w.]+:) "
)
_NO_NEWS = re.compile(r"/readyz|\bWARNING\b|\"level\": \"warning\"|^W\d{4} |\balembic\.")
"""Lines for those who read the log: being asked for readiness, and what libraries warn each other about."""
_TAIL_BYTES = 16_384


class Child:
    """A process that is started again, after a pause that doubles, for as long as it is wanted."""

    def __init__(
        self,
        name: str,
        *,
        command: Sequence[str],
        environment: Mapping[str, str],
        log_path: Path,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.log_path = log_path
        self._command = list(command)
        self._environment = dict(environment)
        self._monotonic = monotonic
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._started_s = 0.0
        self._pause_s = FIRST_PAUSE_S
        self._due_s: float | None = None

    @property
    def pid(self) -> int | None:
        """Its process, while there is one."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Start it, in a session of its own, so that Ctrl-C does not reach it past the launcher."""
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                tied.command(self._command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        self._started_s = self._monotonic()
        self._due_s = None

    def poll_end(self) -> str | None:
        """Say once how it ended (`exit code 1`, `SIGKILL`), and plan its restart; None while it runs or waits."""
        if self._process is None or self._process.poll() is None:
            return None
        code = self._process.returncode
        self._process = None
        now_s = self._monotonic()
        if now_s - self._started_s >= STEADY_S:
            self._pause_s = FIRST_PAUSE_S
        self._due_s = now_s + self._pause_s
        self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s)
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name

    @property
    def restart_in_s(self) -> float | None:
        """Seconds until it is to be started again; None while it runs."""
        return max(0.0, self._due_s - self._monotonic()) if self._due_s is not None else None

    def ask_to_end(self) -> None:
        """Send SIGTERM, and plan no restart."""
        self._due_s = None
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()

    def has_ended(self) -> bool:
        """Tell whether nothing runs."""
        return self._process is None or self._process.poll() is not None

    def last_lines(self, count: int = 1) -> list[str]:
        """Read the newest lines that it wrote since its last start, without terminal codes."""
        with suppress(OSError), self.log_path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(self._log_start, size - _TAIL_BYTES))
            text = _TERMINAL_CODES.sub("", log.read().decode("utf-8", errors="replace"))
            lines = [line.strip() for line in re.split(r"[\r\n]+", text)]
            return [line for line in lines if line][-count:]
        return []

    def last_words(self) -> str:
        """Give the newest line that is news to who waits for the start, without its time and source."""
        newest = next((line for line in reversed(self.last_lines(200)) if not _NO_NEWS.search(line)), "")
        return _message(newest) if newest.startswith("{") else _LOG_PREFIX.sub("", newest)


def _message(line: str) -> str:
    """Read a record of a JSON log."""
    with suppress(ValueError, KeyError, TypeError):
        return str(json.loads(line)["message"])
    return line
