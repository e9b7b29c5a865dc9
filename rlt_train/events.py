"""Own the trainer's voice: one JSON line an event, on disk before the next thing happens."""

import os
from pathlib import Path
from typing import Literal

from rlt_core.schemas.trainer import CollectedEvent, ErrorEvent, LogEvent, ResultEvent, TrainerEvent


class EventWriter:
    """Append events to one file; the supervisor reads it from where it stood."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def emit(self, event: TrainerEvent) -> None:
        """Write one line whole; the last line of an attempt is also made durable."""
        line = event.model_dump_json() + "\n"
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            if isinstance(event, ResultEvent | CollectedEvent | ErrorEvent):
                os.fsync(file.fileno())

    def log(self, message: str, *, level: Literal["info", "warning"] = "info") -> None:
        """Say a sentence to people."""
        self.emit(LogEvent(message=message, level=level))


class SilentWriter(EventWriter):
    """The voice of a rank that is not the first: all ranks would say the same."""

    def emit(self, event: TrainerEvent) -> None:
        """Say nothing."""
