"""The figures of `make bench-train` follow from its rows."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.page import train_table
from benchmarks.train.table import figures_of


def rows() -> list[dict[str, Any]]:
    parts = {"rollout_s": 2.0, "score_s": 1.0, "train_s": 4.0, "publish_s": 0.5}
    found = []
    theirs = {"rollout_s": 9.0, "score_s": 3.0, "train_s": 4.0}
    for step, seconds in ((2, 8.0), (3, 10.0), (4, 8.0)):
        found += [
            {"step": step, "who": "batched", "seconds": 2.0 * seconds, "length": 64.0, **theirs},
            {"step": step, "who": "ours", "seconds": seconds, "length": 60.0, **parts},
            {"step": step, "who": "one_at_a_time", "seconds": 3.0 * seconds, "length": 64.0, **theirs},
        ]
    return found


def test_ratios_are_taken_within_a_step() -> None:
    found = figures_of(rows())
    assert (found["ours_s"], found["one_at_a_time_s"], found["batched_s"]) == (8.0, 24.0, 16.0)
    assert found["ratios"]["one_at_a_time"] == {"ratio": 3.0, "ci_low": 3.0, "ci_high": 3.0}
    assert found["ratios"]["batched"]["ratio"] == 2.0
    assert found["breakdown"] == {"rollout_s": 2.0, "score_s": 1.0, "train_s": 4.0, "publish_s": 0.5}
    assert found["breakdown_of_rivals"]["batched"] == {"rollout_s": 9.0, "score_s": 3.0, "train_s": 4.0}
    assert found["steps"] == 3


def test_a_way_that_is_missing_is_no_figure() -> None:
    with pytest.raises(ValueError, match="no median"):
        figures_of([row for row in rows() if row["who"] != "batched"])


def test_the_page_shows_them(tmp_path: Path) -> None:
    facts = {"command": "make bench-train", "date": "2030-01-01", "commit": "abc", "machine": "a laptop"}
    (tmp_path / "train.json").write_text(json.dumps(figures_of(rows()) | facts))
    page = train_table(tmp_path)
    assert "| TRL's own, scored in batches | 16.0 s | 64 | 2.000 [2.000, 2.000] |" in page
    assert "ours: services and trainer: rollout 2.0 s, score 1.0 s, train 4.0 s, publish 0.5 s" in page.lower()
    assert "scored in batches: rollout 9.0 s, score 3.0 s, train 4.0 s" in page
