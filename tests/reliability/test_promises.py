"""Every promise of docs/reliability.md at a size for every day: the same trials as `make chaos`, fewer of them."""

from pathlib import Path

import pytest

from benchmarks.reliability.rows import ROWS, Row

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

SEED = 2


@pytest.mark.parametrize("row", [row for row in ROWS if row.in_ci], ids=lambda row: row.name)
def test_the_promise_holds(row: Row, tmp_path: Path) -> None:
    trials = list((row.quick or row.trials)(count=row.in_ci, seed=SEED, folder=tmp_path))
    assert trials
    assert [trial for trial in trials if not trial.passed] == []
