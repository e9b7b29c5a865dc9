"""The table follows from the trials, and its bounds are right."""

import json
from pathlib import Path

import pytest

from benchmarks.reliability.figures import row_of, table_of, upper_bound
from benchmarks.reliability.page import RESULTS, figures_of, with_table
from benchmarks.reliability.rows import BY_NAME
from benchmarks.reliability.run import Run, read_runs
from benchmarks.reliability.trial import Trial, read_trials, write_trials


@pytest.mark.parametrize(
    ("failures", "trials", "bound"),
    [
        (0, 1, 0.95),  # 1 - 0.05^(1/1)
        (0, 300, 0.009936),  # 1 - 0.05^(1/300): the rule of three says 1 %
        (1, 10, 0.394163),  # 0.95 quantile of Beta(2, 9)
        (10, 10, 1.0),
        (0, 0, 1.0),
    ],
)
def test_the_bound_is_clopper_and_pearson_s(failures: int, trials: int, bound: float) -> None:
    assert upper_bound(failures, trials) == pytest.approx(bound, abs=1e-5)


def trial(number: int, *, passed: bool = True, seconds: float = 0.0) -> Trial:
    return Trial(row="r", number=number, seed=1, fault="kill", passed=passed, seconds=seconds)


def test_a_row_counts_failures_and_shows_times() -> None:
    trials = [trial(0, seconds=3.0), trial(1, passed=False, seconds=1.0), trial(2)]
    row = row_of(trials, name="r", promise="it holds", real_parts="all", note="")
    assert (row["trials"], row["failures"], row["longest_s"]) == (3, 1, 3.0)
    assert "| it holds | 3 | 1 |" in table_of([row])


def test_a_bound_of_all_is_written_out() -> None:
    row = row_of([trial(0, passed=False)], name="r", promise="it holds", real_parts="all", note="")
    assert "| it holds | 1 | 1 | 100% |" in table_of([row])


def test_what_was_written_is_read(tmp_path: Path) -> None:
    trials = [trial(0), trial(1, passed=False, seconds=2.5)]
    assert write_trials(trials, tmp_path / "deep" / "r.jsonl") == trials
    assert read_trials(tmp_path / "deep" / "r.jsonl") == trials


def test_the_committed_table_and_figures_follow_from_the_committed_trials() -> None:
    found = json.loads((RESULTS / "reliability.json").read_text(encoding="utf-8"))
    assert figures_of(RESULTS) == found
    page = (RESULTS.parent / "reliability.md").read_text(encoding="utf-8")
    assert with_table(page, found) == page


@pytest.mark.parametrize(("name", "run"), read_runs(RESULTS / "reliability" / "runs.json").items())
def test_what_was_tried_in_full_is_what_is_promised_today(name: str, run: Run) -> None:
    row = BY_NAME[name]
    promised = (row.promise, row.real_parts, row.note)
    assert (run.promise, run.real_parts, run.note) == promised, f"try it again: make chaos ROWS={name}"


def test_a_row_tells_how_it_was_made() -> None:
    row = row_of([trial(0)], name="r", promise="it holds", real_parts="all", note="")
    made = row | {"command": "make chaos ROWS=r", "date": "2026-01-01", "commit": "abc"}
    assert table_of([made]).endswith("| `make chaos ROWS=r`, 2026-01-01, abc |")
    assert {"command", "date", "commit", "machine"} <= set.intersection(*map(set, figures_of(RESULTS)["rows"]))
