"""Rows whose trials are tests, and rows that other commands measured, count what is there."""

import json
from pathlib import Path

import pytest

from benchmarks.reliability.by_tests import cases_of
from benchmarks.reliability.committed import committed_rows

SUITE = """
import time
import pytest

@pytest.mark.parametrize("number", [1, 2])
def test_even(number):
    assert number % 2 == 0, "odd"

def test_slow():
    time.sleep(0.3)

@pytest.mark.skip(reason="no such disk here")
def test_skipped():
    pass
"""


@pytest.mark.processes
def test_each_case_is_a_trial_and_what_failed_or_was_skipped_or_took_too_long_has_not_passed(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (tmp_path / "test_it.py").write_text(SUITE, encoding="utf-8")
    made = cases_of("it", "test_it.py", most_s=0.2, root=tmp_path)
    trials = list(made(count=2, seed=1, folder=tmp_path / "reports"))
    assert [trial.number for trial in trials] == list(range(8))
    told = {trial.fault: (trial.passed, trial.detail) for trial in trials[4:]}
    assert told == {
        "test_it::test_even[1]": (False, "failure: AssertionError: odd"),
        "test_it::test_even[2]": (True, ""),
        "test_it::test_slow": (False, ""),
        "test_it::test_skipped": (False, "skipped: no such disk here"),
    }


@pytest.mark.processes
def test_a_test_that_is_not_there_is_an_error_and_no_empty_row(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    with pytest.raises(RuntimeError, match="no_such"):
        list(cases_of("it", "no_such.py", root=tmp_path)(count=1, seed=1, folder=tmp_path))


def lay_swap(
    results: Path, *, mixed: bool, ratio: float, rollback_s: float, file: str = "swap", engine: str = "fake"
) -> None:
    (results / "swap").mkdir(parents=True)
    lines = [
        {"phase": "before", "status": 500, "mixed": False},
        {"phase": "swaps", "status": 200, "mixed": False},
        {"phase": "swaps", "status": 200, "mixed": mixed},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (results / "swap" / f"{engine}-requests.jsonl").write_text(text, encoding="utf-8")
    part = {"clients": 64, "swaps": 200, "p99_ratio": ratio, "rollback_p99_s": rollback_s}
    found = {engine: part, "commit": "abc", "date": "2030-01-01", "machine": "m", "command": "make bench-swap"}
    (results / f"{file}.json").write_text(json.dumps(found), encoding="utf-8")


@pytest.mark.parametrize(
    ("mixed", "ratio", "rollback_s", "failures"),
    [(False, 1.3, 0.9, 0), (True, 1.3, 0.9, 1), (False, 2.1, 0.9, 1), (False, 1.3, 5.1, 1)],
)
def test_the_swaps_row_counts_requests_during_swaps_and_both_bounds(
    tmp_path: Path, mixed: bool, ratio: float, rollback_s: float, failures: int
) -> None:
    lay_swap(tmp_path, mixed=mixed, ratio=ratio, rollback_s=rollback_s)
    [row] = committed_rows(tmp_path)
    assert (row["name"], row["trials"], row["failures"], row["commit"]) == ("hot-swap-fake", 4, failures, "abc")


def test_swaps_of_fully_trained_versions_make_a_row_of_their_own(tmp_path: Path) -> None:
    lay_swap(tmp_path, mixed=True, ratio=1.3, rollback_s=0.9, file="swap-full", engine="full")
    [row] = committed_rows(tmp_path)
    assert (row["name"], row["trials"], row["failures"]) == ("hot-swap-full", 4, 1)
    assert "two engines" in row["real_parts"]


def test_the_committed_results_of_other_commands_make_rows() -> None:
    rows = {row["name"]: row for row in committed_rows(Path(__file__).parents[2] / "docs" / "results")}
    assert set(rows) == {"fuzz", "hot-swap-fake", "hot-swap-real", "hot-swap-full"}
    assert all(row["commit"] for row in rows.values())
    assert not {name: row["failures"] for name, row in rows.items() if row["failures"]}
    assert rows["hot-swap-fake"]["trials"] > 10_000
