"""Own the record of one trial: what was done to what, and whether the promise held."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trial of one promise."""

    row: str
    """Name of the promise, a row of the table."""
    number: int
    seed: int
    fault: str
    passed: bool
    seconds: float = 0.0
    """What the promise bounds, such as the time until a job runs again; 0 where it bounds no time."""
    detail: str = ""
    figures: dict[str, float] = field(default_factory=dict[str, float])


def write_trials(trials: Iterable[Trial], path: Path) -> list[Trial]:
    """Write each trial as it comes, one JSON line each, so that a run that is broken off keeps what it saw."""
    written: list[Trial] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as lines:
        for trial in trials:
            lines.write(json.dumps(_said(trial)) + "\n")
            lines.flush()
            written.append(trial)
    return written


def read_trials(path: Path) -> list[Trial]:
    """Read what `write_trials` wrote."""
    return [Trial(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def _said(trial: Trial) -> dict[str, Any]:
    """Leave out what says nothing: one run holds tens of thousands of lines."""
    return {
        name: value for name, value in asdict(trial).items() if value not in ("", 0.0, {}) or name in ("number", "seed")
    } | {"passed": trial.passed}
