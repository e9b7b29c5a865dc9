"""What the relay tells the trainer: how far the database is, and no further."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rlt_core.errors import UnavailableError
from rlt_core.schemas.trainer import STORED_STEP, CheckpointEvent, ProgressEvent, TrainerEvent
from rlt_service.jobs.relay import EventRelay


class Records:
    """Stands for the store of jobs: it keeps what it is given, but while it is away."""

    def __init__(self) -> None:
        self.away = False
        self.types: list[str] = []

    def record(self, _job_id: str, _attempt: int, events: Sequence[tuple[str, Any]], **_: object) -> None:
        if self.away:
            raise UnavailableError("away")
        self.types += [type_ for type_, _data in events]


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def relay(records: Records, tmp_path: Path) -> EventRelay:
    jobs: Any = records
    return EventRelay(jobs, job_id="job_" + "a" * 16, attempt=1, path=tmp_path / "events.jsonl")


def tell(folder: Path, *events: TrainerEvent) -> None:
    with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(event.model_dump_json() + "\n" for event in events)


def saved(step: int) -> CheckpointEvent:
    return CheckpointEvent(step=step, path=f"step-{step}", manifest_sha256="0" * 64)


def stored_step(folder: Path) -> str | None:
    path = folder / STORED_STEP
    return path.read_text(encoding="utf-8") if path.exists() else None


def test_the_trainer_is_told_of_a_checkpoint_once_the_database_knows_it(
    relay: EventRelay, records: Records, tmp_path: Path
) -> None:
    tell(tmp_path, ProgressEvent(step=1, total=9))
    relay.copy()
    assert stored_step(tmp_path) is None
    tell(tmp_path, saved(1), saved(2))
    records.away = True
    with pytest.raises(UnavailableError):
        relay.copy()
    assert stored_step(tmp_path) is None
    records.away = False
    relay.copy()
    assert records.types == ["progress", "checkpoint", "checkpoint"]
    assert stored_step(tmp_path) == "2"


def test_a_folder_that_takes_nothing_loses_no_event(relay: EventRelay, records: Records, tmp_path: Path) -> None:
    (tmp_path / f".{STORED_STEP}.part").mkdir()  # nothing can be written under that name
    tell(tmp_path, saved(1))
    relay.copy()
    relay.copy()
    assert records.types == ["checkpoint"]
