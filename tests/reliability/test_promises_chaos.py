"""Promises of everything at once, at a size for every day of what `make chaos` tries."""

from pathlib import Path

import pytest

from benchmarks.reliability.rows import Row
from tests.reliability.promises import assert_holds, rows_of

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]


@pytest.mark.parametrize("row", rows_of("chaos"), ids=lambda row: row.name)
def test_the_promise_holds(row: Row, tmp_path: Path) -> None:
    assert_holds(row, tmp_path)
