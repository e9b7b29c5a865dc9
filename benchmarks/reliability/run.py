"""Own what is known of the run that made a row's trials: what was promised, seed, size, time, commit, machine."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of one row."""

    seed: int
    count: int
    """The size that was asked for; some rows make a trial more, about all of them."""
    seconds: float
    commit: str
    date: str
    machine: str
    promise: str = ""
    """What the row said when it was run, and the next two: that is what these trials were judged by."""
    real_parts: str = ""
    note: str = ""


def save_run(path: Path, name: str, run: Run) -> None:
    """Note a row's run beside the others'."""
    runs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    runs[name] = asdict(run)
    path.write_text(json.dumps(runs, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_runs(path: Path) -> dict[str, Run]:
    """Read the runs of all rows."""
    return {name: Run(**fields) for name, fields in json.loads(path.read_text(encoding="utf-8")).items()}
