"""Where a trainer stands is read from its files, and it is killed there and nowhere else."""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

from benchmarks.reliability.trainer_points import (
    BEHIND_STEP,
    BETWEEN_STEPS,
    IN_CHECKPOINT,
    IN_OPTIMIZER_STEP,
    IN_ROLLOUT,
    Stand,
    kill_at,
    stand_of,
)


def lay(attempt: Path, names: Sequence[str]) -> Path:
    """Lay what a trainer of rl leaves in its folder."""
    for name in names:
        (attempt / name).parent.mkdir(parents=True, exist_ok=True)
        (attempt / name).touch()
    return attempt


FIRST = ("rollouts/0", "journal/step-0.begun")
SECOND = ("rollouts/0", "journal/step-0.json", "rollouts/1", "journal/step-1.begun")


@pytest.mark.parametrize(
    ("names", "stand"),
    [
        ((), None),
        (("rollouts/0",), None),
        (FIRST, (IN_ROLLOUT, 1)),
        ((*FIRST, "journal/.step-0.json.part"), (IN_ROLLOUT, 1)),
        ((*FIRST, "journal/step-0.json"), (IN_OPTIMIZER_STEP, 1)),
        ((*FIRST, "journal/step-0.json", "rollouts/.1.part"), (IN_OPTIMIZER_STEP, 1)),
        ((*FIRST, "journal/step-0.json", "rollouts/1"), (BETWEEN_STEPS, 1)),
        ((*FIRST, "journal/step-0.json", "rollouts/1", "checkpoints/.step-1.part"), (IN_CHECKPOINT, 1)),
        ((*SECOND, "checkpoints/step-1"), (IN_ROLLOUT, 2)),
        ((*SECOND, "journal/step-1.json", "checkpoints/step-1"), (IN_OPTIMIZER_STEP, 2)),
    ],
)
def test_the_files_of_an_attempt_tell_where_its_trainer_stands(
    tmp_path: Path, names: Sequence[str], stand: tuple[str, int] | None
) -> None:
    wanted = None if stand is None else Stand(point=stand[0], step=stand[1])
    assert stand_of(lay(tmp_path / "attempt-1", names)) == wanted


def test_of_a_warm_up_the_steps_that_it_tells_of_are_seen_and_its_checkpoints(tmp_path: Path) -> None:
    told = [{"type": "log", "message": "begins"}, *({"type": "progress", "step": step} for step in (1, 2))]
    lines = "".join(json.dumps(event) + "\n" for event in told)
    events = tmp_path / "events.jsonl"
    events.write_text(lines.partition("\n")[0] + "\n", encoding="utf-8")
    assert stand_of(tmp_path) is None
    events.write_text(lines + '{"type": "progress", "st', encoding="utf-8")  # a line is being written
    assert stand_of(tmp_path) == Stand(point=BEHIND_STEP, step=2)
    lay(tmp_path, ["checkpoints/step-2", "checkpoints/.step-4.part"])
    assert stand_of(tmp_path) == Stand(point=IN_CHECKPOINT, step=4)


SLEEPS, ENDS = "import time; time.sleep(60)", "import time; time.sleep(0.5)"


@pytest.mark.parametrize(
    ("code", "point", "steps", "found", "exit_code"),
    [
        (SLEEPS, IN_ROLLOUT, range(1, 3), Stand(point=IN_ROLLOUT, step=2), -signal.SIGKILL),
        (ENDS, IN_ROLLOUT, range(1, 2), None, 0),
        (ENDS, IN_CHECKPOINT, range(1, 3), None, 0),
    ],
    ids=["there", "at another step", "at another point"],
)
def test_a_trainer_is_killed_at_its_point_and_step_alone(
    tmp_path: Path, code: str, point: str, steps: range, found: Stand | None, exit_code: int
) -> None:
    lay(tmp_path, SECOND)
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        assert kill_at(psutil.Process(process.pid), tmp_path, point=point, steps=steps) == found
        assert process.wait(timeout=30) == exit_code


def test_a_trainer_that_has_ended_is_not_looked_for(tmp_path: Path) -> None:
    lay(tmp_path, SECOND)
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        trainer = psutil.Process(process.pid)
        process.wait(timeout=30)
        assert kill_at(trainer, tmp_path, point=IN_ROLLOUT, steps=range(1, 3)) is None


class Quick:
    """A trainer that has moved on when it stands still, and ends then."""

    def __init__(self, attempt: Path) -> None:
        self.attempt = attempt
        self.asked: list[str] = []

    def is_running(self) -> bool:
        return "resume" not in self.asked

    def status(self) -> str:
        return psutil.STATUS_STOPPED if "suspend" in self.asked else psutil.STATUS_RUNNING

    def suspend(self) -> None:
        self.asked.append("suspend")
        lay(self.attempt, ["journal/step-1.json"])

    def resume(self) -> None:
        self.asked.append("resume")

    def kill(self) -> None:
        self.asked.append("kill")


def test_a_trainer_that_moved_on_before_it_stood_still_is_let_go(tmp_path: Path) -> None:
    quick = Quick(lay(tmp_path, SECOND))
    found = kill_at(quick, tmp_path, point=IN_ROLLOUT, steps=range(1, 3))  # pyright: ignore[reportArgumentType] - all it asks
    assert (found, quick.asked) == (None, ["suspend", "resume"])
