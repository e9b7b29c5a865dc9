"""What tests took is summed from pytest's own words, and every pattern of a group has files."""

from fnmatch import fnmatch
from pathlib import Path

import pytest

from benchmarks.durations import GROUPS, REST, grouped, seconds_of, whole_of

ROOT = Path(__file__).parents[2]
SAID = """
============================= slowest durations ==============================
12.50s setup    tests/engine/test_vllm_scores.py::test_one[0.7]
1.25s call     tests/engine/test_vllm_scores.py::test_one[0.7]
0.25s teardown tests/real/test_loop.py::test_two
2.00s call     tests/real/test_two_tokenizers.py::test_three
0.10s call     tests/client/test_sse.py::test_four

(9 durations < 0.005s hidden.  Use -vv to show these durations.)
======================= 4 passed, 1 skipped in 17.00s ========================
======================= 2 passed in 62.50s (0:01:02) =========================
""".splitlines()


def test_seconds_are_summed_by_file_and_group() -> None:
    files = seconds_of(SAID)
    assert files["tests/engine/test_vllm_scores.py"] == pytest.approx(13.75)
    by_group = grouped(files)
    first, second = GROUPS
    assert (by_group[first], by_group[second], by_group[REST]) == pytest.approx((15.75, 0.25, 0.1))
    assert whole_of(SAID) == pytest.approx(79.5)


def test_every_pattern_has_files() -> None:
    files = [str(path.relative_to(ROOT)) for path in (ROOT / "tests").rglob("test_*.py")]
    for pattern in (pattern for patterns in GROUPS.values() for pattern in patterns):
        assert any(fnmatch(file, pattern) for file in files), pattern
