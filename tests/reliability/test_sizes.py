"""Every promise has its sizes on the page and its place in a file of tests; a row that is missing is noticed."""

from dataclasses import replace

import pytest

from benchmarks.reliability.rows import ROWS
from benchmarks.reliability.sizes import BRACKETS, PAGE, faults_of, table_of, with_sizes
from tests.reliability.promises import PARTS, tried_daily


def test_the_table_of_sizes_on_the_page_is_that_of_the_rows() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_sizes(page, table_of(ROWS, BRACKETS)) == page, "python -m benchmarks.reliability.sizes"


def test_each_row_of_every_day_is_tried_in_one_file() -> None:
    assert sorted(name for part in PARTS.values() for name in part) == sorted(tried_daily())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_that_is_missing_is_an_error(row: object) -> None:
    assert faults_of([one for one in ROWS if one is not row], BRACKETS)


def test_fewer_trials_than_the_bracket_need_a_reason_and_a_reason_needs_fewer() -> None:
    assert faults_of(ROWS, BRACKETS) == []
    [killed] = [row for row in ROWS if row.name == "engine-killed"]
    bracket = BRACKETS["engine-killed"]
    assert faults_of([replace(killed, in_ci=1)], {"engine-killed": bracket})
    assert faults_of([killed], {"engine-killed": replace(bracket, why_less="none")})


def test_a_page_without_a_place_for_the_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 places"):
        with_sizes("# Reliability\n", "table")
