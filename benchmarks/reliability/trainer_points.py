"""Own where a trainer stands in its work, read from what lies in its first attempt's folder; kills it at such a point.

Only a first attempt is read: a later one replays journals of others, which leaves nothing in its own folder.
"""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

IN_ROLLOUT = "in a rollout"
"""A step's rollouts are asked for, and its journal is not written."""
IN_OPTIMIZER_STEP = "in the optimizer step"
"""A step's journal is written, and the policy that comes of it is not saved."""
IN_CHECKPOINT = "in the write of a checkpoint"
BETWEEN_STEPS = "between steps"
"""A step's policy is saved, and the next rollouts are not asked for."""
BEHIND_STEP = "behind a step"
"""A step is told of. What a warm-up does next cannot be seen in its files until it saves again."""
POINTS: Mapping[str, Sequence[str]] = {
    "warmup": (BEHIND_STEP, IN_CHECKPOINT),
    "rl": (IN_ROLLOUT, IN_OPTIMIZER_STEP, IN_CHECKPOINT, BETWEEN_STEPS),
}
"""What can be seen, by kind of job."""
LOOK_S = 0.0005
STANDS_S = 5.0
"""Longest time that a process may take to stand still."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Where a trainer stands: the point, and the step that it makes; between steps and behind one, the last it made."""

    point: str
    step: int


def stand_of(attempt: Path) -> Stand | None:
    """Say where an attempt stands; None while it has not begun its first step."""
    if parts := _numbers(attempt / "checkpoints", r"\.step-(\d+)\.part"):
        return Stand(point=IN_CHECKPOINT, step=max(parts))
    written = _numbers(attempt / "journal", r"step-(\d+)\.json")
    asked = written | _numbers(attempt / "journal", r"step-(\d+)\.begun")
    if not asked:
        told = _steps_told(attempt / "events.jsonl")
        return Stand(point=BEHIND_STEP, step=told) if told else None
    newest = max(asked)
    if newest not in written:
        return Stand(point=IN_ROLLOUT, step=newest + 1)
    if newest + 1 not in _numbers(attempt / "rollouts", r"(\d+)"):
        return Stand(point=IN_OPTIMIZER_STEP, step=newest + 1)
    return Stand(point=BETWEEN_STEPS, step=newest + 1)


def kill_at(trainer: psutil.Process, attempt: Path, *, point: str, steps: range) -> Stand | None:
    """Kill a trainer at a point of one of these steps, as its files show it; None where it ended without being seen.

    It is stopped first and looked at once more: what it was killed at is certain.
    """
    try:
        while trainer.is_running() and trainer.status() != psutil.STATUS_ZOMBIE:
            if _seen_at(attempt, point, steps) is not None:
                trainer.suspend()
                wait_until_it_stands(trainer)
                if (found := _seen_at(attempt, point, steps)) is not None:
                    trainer.kill()
                    return found
                trainer.resume()
            time.sleep(LOOK_S)
    except psutil.NoSuchProcess:
        return None
    return None


def _seen_at(attempt: Path, point: str, steps: range) -> Stand | None:
    found = stand_of(attempt)
    return found if found is not None and found.point == point and found.step in steps else None


def wait_until_it_stands(trainer: psutil.Process) -> None:
    """Wait until SIGSTOP has done its work; raises TimeoutError where it does not."""
    deadline_s = time.monotonic() + STANDS_S
    while trainer.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"the trainer {trainer.pid} does not stand still")
        time.sleep(LOOK_S)


def _numbers(folder: Path, pattern: str) -> set[int]:
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return set()
    return {int(found[1]) for name in names if (found := re.fullmatch(pattern, name)) is not None}


def _steps_told(events: Path) -> int:
    """Give the last step of which whole lines tell."""
    try:
        lines = events.read_bytes().split(b"\n")[:-1]
    except FileNotFoundError:
        return 0
    told = [json.loads(line) for line in lines]
    return max((event["step"] for event in told if event["type"] == "progress"), default=0)
