"""Own the form of log records: text for people or JSON, one a line, which carries what the work at hand is bound to."""

import io
import json
import logging
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal, TextIO

from pydantic import ValidationError

LogFormat = Literal["text", "json"]
FORMAT_VARIABLE = "RLT_LOG_FORMAT"
"""`json` or `text`: what all processes of an installation go by."""

_ErrorInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
_NOTHING: dict[str, str | int] = {}
_bound: ContextVar[dict[str, str | int]] = ContextVar("rlt_log_fields", default=_NOTHING)


@contextmanager
def bound(**fields: str | int) -> Generator[None]:
    """Have all records of this context carry these fields (`job`, `attempt`, `step`, `request_id`)."""
    token = _bound.set(_bound.get() | fields)
    try:
        yield
    finally:
        _bound.reset(token)


def bind(**fields: str | int) -> None:
    """Do the same from here on, until the block of `bound` around it ends."""
    _bound.set(_bound.get() | fields)


class TextLines(logging.Formatter):
    """Time, level, logger, message; a traceback after it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatException(self, ei: _ErrorInfo) -> str:
        """Leave out what a caller sent: pydantic's messages quote it."""
        return "" if ei[1] is None else told(ei[1])


class JsonLines(TextLines):
    """One JSON object a record: `at`, `level`, `logger`, `message`, what is bound, and `error` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; a line break within it is escaped."""
        fields: dict[str, str | int] = {
            "at": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "pid": record.process or 0,
        }
        fields |= _bound.get()
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def told(error: BaseException) -> str:
    """Give an error and what led to it, each with the lines that it came through."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    parts = [] if before is None else [told(before)]
    parts += [told(part) for part in _grouped(error)]
    said = str(error)
    if isinstance(error, ValidationError):
        found = error.errors(include_input=False, include_context=False, include_url=False)
        said = "; ".join(f"{'.'.join(map(str, entry['loc']))}: {entry['type']}" for entry in found)
    lines = "".join(traceback.format_tb(error.__traceback__))
    return "\n".join([*parts, f"{lines}{type(error).__qualname__}: {said}"])


def _grouped(error: BaseException) -> tuple[BaseException, ...]:
    if not isinstance(error, BaseExceptionGroup):
        return ()
    return error.exceptions  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - errors of any kind


class PrintedLines(io.TextIOBase):
    """A standard output whose lines become records: what libraries print stands between those of a JSON log too."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._begun = ""

    def write(self, text: str, /) -> int:
        """Log each line that is whole."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if line.strip():
                self._logger.info("%s", line)
        return len(text)


class _Handler(logging.StreamHandler[TextIO]):
    """The one that this module has set up."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop a record that cannot be written: saying so would be one more, and a full disk must end no work."""


def set_up(form: str, *, level: int = logging.INFO, stream: TextIO | None = None) -> None:
    """Let this process log in `form` to `stream`, by default its standard error; replaces what was set up before."""
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler, *(other for other in root.handlers if not isinstance(other, _Handler))]
    root.setLevel(level)
    logging.captureWarnings(form == "json")
