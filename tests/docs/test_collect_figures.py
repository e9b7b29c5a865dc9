"""What the rows of `make bench-collect` come to."""

from typing import Any

import pytest

from benchmarks.collect.figures import figures_of


def rows(*ratios: float) -> list[dict[str, Any]]:
    """Make pairs in which a collect is so much as fast as the plain script, whatever the hour."""
    found: list[dict[str, Any]] = []
    for repeat, ratio in enumerate(ratios):
        plain_s = 10.0 + repeat
        found += [
            {"way": "plain", "repeat": repeat, "seconds": plain_s, "questions": 40, "tokens": 4000.0},
            {"way": "collect", "repeat": repeat, "seconds": plain_s / ratio, "questions": 40, "tokens": 4000.0},
        ]
    return found


def test_runs_are_compared_pair_by_pair() -> None:
    found = figures_of(rows(1.0, 1.0, 1.0))
    assert found["questions_ratio"] == {"ratio": 1.0, "ci_low": 1.0, "ci_high": 1.0}
    assert found["questions_per_s"]["plain"] == pytest.approx(40 / 11, abs=1e-3)
    assert found["promise_kept"] is True


def test_a_collect_that_is_slower_throughout_keeps_no_promise() -> None:
    found = figures_of(rows(0.9, 0.92, 0.91, 0.9))
    assert found["tokens_ratio"]["ratio"] == pytest.approx(0.9075, abs=1e-3)
    assert found["promise_kept"] is False


def test_the_promise_is_held_against_the_interval() -> None:
    assert figures_of(rows(0.94, 1.0, 0.94, 1.0))["promise_kept"] is True
