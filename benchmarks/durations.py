"""Sum what tests took, by what they are about, from the output of pytest's `--durations=0`.

PYTEST_ADDOPTS=--durations=0 make test | tee test.log
python -m benchmarks.durations test.log

Seconds are those of the tests, setup and teardown among them: where several run at a time they are more than what
passes on the clock. pytest leaves out what took less than 5 ms.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

GROUPS: Mapping[str, Sequence[str]] = {
    "scores, explanations, versions and swaps": (
        "tests/engine/*",
        "tests/tokens/*",
        "tests/core/test_alignment.py",
        "tests/core/test_comparison.py",
        "tests/core/test_rewards.py",
        "tests/docs/test_score_checks.py",
        "tests/launch/test_two_servers.py",
        "tests/real/test_bad_adapters.py",
        "tests/real/test_client_gone.py",
        "tests/real/test_full_version.py",
        "tests/real/test_swap_under_load.py",
        "tests/real/test_two_tokenizers.py",
        "tests/service/test_bad_adapters.py",
        "tests/service/test_cache_salts.py",
        "tests/service/test_control_aliases.py",
        "tests/service/test_control_deletion.py",
        "tests/service/test_control_models.py",
        "tests/service/test_deadlines.py",
        "tests/service/test_disconnects.py",
        "tests/service/test_engine_host.py",
        "tests/service/test_explain*.py",
        "tests/service/test_fairness.py",
        "tests/service/test_format_r1.py",
        "tests/service/test_full_*.py",
        "tests/service/test_gate.py",
        "tests/service/test_overload.py",
        "tests/service/test_score*.py",
        "tests/service/test_shadow*.py",
        "tests/service/test_swap_*.py",
        "tests/store/test_registry.py",
        "tests/store/test_shadows.py",
        "tests/store/test_version_uses.py",
    ),
    "jobs and training": (
        "tests/demo/*",
        "tests/jobs/*",
        "tests/train/*",
        "tests/real/*",
        "tests/service/test_control_train.py",
    ),
}
"""Patterns of files; the first group that has one counts."""
REST = "the rest"
_DURATION = re.compile(r"^\s*(\d+\.\d+)s (call|setup|teardown)\s+(tests/[\w/]+\.py)::")
_WHOLE = re.compile(r"^=+ .* in (\d+\.\d+)s")


def main() -> None:
    """Read the files that are named, write both tables."""
    lines = [line for name in sys.argv[1:] for line in Path(name).read_text("utf-8", "replace").splitlines()]
    files = seconds_of(lines)
    for title, parts in (("group", grouped(files)), ("file", files)):
        sys.stdout.write(f"seconds  {title}\n")
        for name, seconds in sorted(parts.items(), key=lambda part: -part[1]):
            sys.stdout.write(f"{seconds:7.1f}  {name}\n")
    sys.stdout.write(f"{sum(files.values()):7.1f}  all, in {whole_of(lines):.1f} s on the clock\n")


def seconds_of(lines: Iterable[str]) -> dict[str, float]:
    """Sum the seconds of each file's tests."""
    found: dict[str, float] = defaultdict(float)
    for line in lines:
        if match := _DURATION.match(line):
            found[match[3]] += float(match[1])
    return dict(found)


def whole_of(lines: Iterable[str]) -> float:
    """Sum what the runs of pytest took on the clock."""
    return sum(float(match[1]) for line in lines if (match := _WHOLE.match(line)))


def grouped(files: Mapping[str, float]) -> dict[str, float]:
    """Sum the files' seconds by group."""
    found: dict[str, float] = defaultdict(float)
    for name, seconds in files.items():
        found[group_of(name)] += seconds
    return dict(found)


def group_of(file: str) -> str:
    """Name the group of a file."""
    matching = (group for group, patterns in GROUPS.items() if any(fnmatch(file, one) for one in patterns))
    return next(matching, REST)


if __name__ == "__main__":
    main()
