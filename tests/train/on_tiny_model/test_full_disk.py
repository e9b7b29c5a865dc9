"""The real trainer on a disk that fills or becomes read-only: what was told is whole, and the next attempt goes on."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from rlt_core.schemas.trainer import (
    EXIT_DISK_FULL,
    EXIT_FAILURE,
    EXIT_SUCCESS,
    TRAINER_EVENT,
    CheckpointEvent,
    ErrorEvent,
    ResumePoint,
    TrainerJob,
)
from rlt_train.checkpoints import verified
from tests.support.small_disk import SmallDisk, small_disk
from tests.support.waiting import wait_until

pytestmark = pytest.mark.training

STEPS = 60


def attempt(world: Any, disk: SmallDisk, number: int, **fields: Any) -> TrainerJob:
    folder = disk.path / f"attempt-{number}"
    (disk.seen / folder.name).mkdir()
    spec = {"kind": "warmup", "role": "teacher", "batch_size": 4, "max_steps": STEPS, "save_every": 1}
    places = {"attempt_dir": str(folder), "events_path": str(folder / "events.jsonl")}
    return world.job(spec, **(places | {"attempt": number} | fields))


def start(disk: SmallDisk, job: TrainerJob, file: Path) -> subprocess.Popen[bytes]:
    file.write_text(job.model_dump_json())
    return subprocess.Popen(disk.command(sys.executable, "-m", "rlt_train", "--job", str(file), "--no-watch"))


def told(disk: SmallDisk, number: int) -> list[Any]:
    """Read an attempt's events; a line that the full disk cut off is none."""
    try:
        text = (disk.seen / f"attempt-{number}" / "events.jsonl").read_text()
    except FileNotFoundError:
        return []
    return [TRAINER_EVENT.validate_json(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def checkpoints(disk: SmallDisk, number: int) -> list[CheckpointEvent]:
    return [event for event in told(disk, number) if isinstance(event, CheckpointEvent)]


@contextmanager
def full(disk: SmallDisk) -> Iterator[None]:
    disk.fill()
    yield
    disk.free()


@contextmanager
def read_only(disk: SmallDisk) -> Iterator[None]:
    """Only the attempt's own folder: nothing else of what it needs to write is in the way."""
    with disk.read_only(disk.path / "attempt-1"):
        yield


@pytest.mark.parametrize("harm", [full, read_only])
def test_the_last_checkpoint_that_was_told_is_whole_and_the_next_attempt_goes_on_from_it(
    world: Any, tmp_path: Path, harm: Callable[[SmallDisk], AbstractContextManager[None]]
) -> None:
    with small_disk(tmp_path / "disk", size_mib=16) as disk:
        first = start(disk, attempt(world, disk, 1), tmp_path / "first.json")
        wait_until(lambda: bool(checkpoints(disk, 1)), what="it has saved", timeout_s=120.0)
        with harm(disk):
            code = first.wait(timeout=120)
        errors = [event.code for event in told(disk, 1) if isinstance(event, ErrorEvent)]
        # The events lie there too: where not even the error can be written, the exit code says it.
        assert (code, errors) in ((EXIT_DISK_FULL, []), (EXIT_FAILURE, ["disk_full"]))
        last = checkpoints(disk, 1)[-1]
        assert last.step < STEPS
        inside = ResumePoint(attempt=1, step=last.step, folder=last.path, manifest_sha256=last.manifest_sha256)
        seen = inside.model_copy(update={"folder": str(disk.seen / Path(last.path).relative_to(disk.path))})
        job = attempt(world, disk, 2, resume_points=[inside])
        assert verified(seen, job=job).step == last.step
        second = start(disk, job, tmp_path / "second.json")
        assert second.wait(timeout=120) == EXIT_SUCCESS
        assert checkpoints(disk, 2)[0].step == last.step + 1
