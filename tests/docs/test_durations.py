"""What tests took is summed from pytest's own words, and every pattern of a group has files."""

from fnmatch import fnmatch
from pathlib import Path

import pytest

from benchmarks.durations import GROUPS, REST, grouped, spent_by_file

ROOT = Path(__file__).parents[2]
SAID = """
============================= slowest durations ==============================
12.00s setup    tests/engine/test_vllm_scores.py::test_one[0.7]
2.00s call     tests/engine/test_vllm_scores.py::test_one[0.7]
10.00s call     tests/real/test_kills.py::test_two
6.00s teardown tests/real/test_loop.py::test_three

(9 durations < 0.005s hidden.  Use -vv to show these durations.)
======================= 4 passed, 1 skipped in 15.00s ========================
2.00s call     tests/engine/test_vllm_scores.py::test_four
8.00s call     tests/client/test_sse.py::test_five
======================= 2 passed in 62.50s (0:01:02) =========================
""".splitlines()


def test_each_runs_time_on_the_clock_is_shared_out_by_seconds_of_tests() -> None:
    files = spent_by_file(SAID)
    assert files["tests/engine/test_vllm_scores.py"] == pytest.approx((16.0, 7.0 + 12.5))
    jobs, scores, training = GROUPS
    by_group = grouped(files)
    assert [by_group[name] for name in (scores, jobs, training, REST)] == [
        pytest.approx(spent) for spent in ((16.0, 19.5), (10.0, 5.0), (6.0, 3.0), (8.0, 50.0))
    ]
    assert sum(spent.clock_s for spent in by_group.values()) == pytest.approx(15.0 + 62.5)


def test_a_log_that_breaks_off_is_refused() -> None:
    with pytest.raises(ValueError, match="missing"):
        spent_by_file(SAID[:-1])


def test_every_pattern_has_files() -> None:
    files = [str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")]
    for pattern in (pattern for patterns in GROUPS.values() for pattern in patterns):
        assert any(fnmatch(file, pattern) for file in files), pattern
