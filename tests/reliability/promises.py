"""Own which file of tests tries which promise: a file is one worker's, so they are of about equal length."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.reliability.rows import BY_NAME, ROWS, Row
from tests.support.postgres import installed

SEED = 2
PARTS: Mapping[str, Sequence[str]] = {
    "chaos": ("chaos", "chaos-real"),
    "jobs": ("acknowledged", "same-submission", "broker", "sse"),
    "kills": ("kills-real", "kills-stub", "kills-postgres"),
    "serving": ("engine-killed", "drain", "overload-sustained"),
    "trainers": ("resume", "stalled-worker", "cancel"),
}


def rows_of(part: str) -> list[Row]:
    """Give the rows of one file."""
    return [BY_NAME[name] for name in PARTS[part]]


def tried_daily() -> list[str]:
    """Give the names of all rows that `make test` tries by their own trials."""
    return [row.name for row in ROWS if row.in_ci]


def assert_holds(row: Row, folder: Path) -> None:
    """Try a promise at its size for every day."""
    if row.needs_postgres:
        installed()
    trials = list((row.quick or row.trials)(count=row.in_ci, seed=SEED, folder=folder))
    # A kill of what had done its work just then is no trial.
    assert 2 * len(trials) > row.in_ci, "fewer trials than were asked for"
    failed = [trial for trial in trials if not trial.passed]
    assert not failed, "\n".join(f"{trial.number}: {trial.fault}: {trial.detail}" for trial in failed)
