"""Own the reading of a trainer's event file while it grows: whole lines, each once."""

from pathlib import Path

from pydantic import ValidationError

from rlt_core.schemas.trainer import TRAINER_EVENT, LogEvent, TrainerEvent


class EventTail:
    """A place in a file of JSON lines that another process appends to."""

    def __init__(self, path: Path) -> None:
        """Take the file; it need not exist yet."""
        self._path = path
        self._offset = 0

    def read(self) -> list[TrainerEvent]:
        """Return events whose line has ended since the last call; a line that is none becomes a warning."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                fresh = file.read()
        except FileNotFoundError:
            return []
        whole, ended, _ = fresh.rpartition(b"\n")
        self._offset += len(whole) + len(ended)
        return [_event(line) for line in whole.split(b"\n") if line.strip()]


def _event(line: bytes) -> TrainerEvent:
    try:
        return TRAINER_EVENT.validate_json(line)
    except ValidationError as error:
        return LogEvent(
            level="warning", message=f"the trainer wrote a line that is no event ({error.error_count()} faults)"
        )
