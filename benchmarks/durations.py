"""Sum what tests took, by what they are about, from the output of pytest's `--durations=0`.

PYTEST_ADDOPTS=--durations=0 make test | tee test.log
python -m benchmarks.durations test.log

Seconds of tests, setup and teardown among them, are more than what passes on the clock where several run at a time:
so each run's time on the clock is shared out by the seconds of its tests. pytest leaves out what took less than 5 ms,
and says nothing of what it collected: that falls to all alike.
"""

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

GROUPS: Mapping[str, Sequence[str]] = {
    "jobs that survive": (
        # Engines that hang or are killed; 512 calls at once.
        "tests/engine/test_vllm_processes.py",
        "tests/service/test_overload.py",
        "tests/access/*",
        "tests/backup/*",
        "tests/fuzz/*",
        "tests/jobs/*",
        "tests/reliability/*",
        "tests/real/test_drain.py",
        "tests/real/test_kills.py",
        "tests/service/test_bad_inputs.py",
        "tests/service/test_drain.py",
        "tests/service/test_in_hand.py",
        "tests/service/test_idempotency.py",
        "tests/service/test_key_walk.py",
        "tests/service/test_keys.py",
        "tests/service/test_no_500.py",
        "tests/service/test_slow_*.py",
    ),
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
        "tests/service/test_score*.py",
        "tests/service/test_shadow*.py",
        "tests/service/test_swap_*.py",
        "tests/store/test_registry.py",
        "tests/store/test_shadows.py",
        "tests/store/test_version_uses.py",
    ),
    "training": (
        "tests/experiment/*",
        "tests/train/*",
        "tests/real/test_dry_run.py",
        "tests/real/test_loop.py",
        "tests/real/test_plain_rl_step.py",
        "tests/service/test_branching.py",
        "tests/service/test_control_train.py",
        "tests/service/test_dry_run.py",
        "tests/service/test_estimates.py",
    ),
}
"""Patterns of files; the first group that has one counts."""
REST = "the rest"
_DURATION = re.compile(r"^\s*(\d+\.\d+)s (call|setup|teardown)\s+(tests/[\w/]+\.py)::")
_WHOLE = re.compile(r"^=+ .* in (\d+\.\d+)s")


class Spent(NamedTuple):
    """Seconds of tests, and of those that passed on the clock."""

    tests_s: float
    clock_s: float


def main() -> None:
    """Read the files that are named, write both tables."""
    lines = [line for name in sys.argv[1:] for line in Path(name).read_text("utf-8", "replace").splitlines()]
    files = spent_by_file(lines)
    for title, parts in (("group", grouped(files)), ("file", files)):
        sys.stdout.write(f"seconds  on the clock  {title}\n")
        for name, spent in sorted(parts.items(), key=lambda part: -part[1].clock_s):
            sys.stdout.write(f"{spent.tests_s:7.1f}  {spent.clock_s:12.1f}  {name}\n")
    whole = _sum(files.values())
    sys.stdout.write(f"{whole.tests_s:7.1f}  {whole.clock_s:12.1f}  all\n")


def spent_by_file(lines: Iterable[str]) -> dict[str, Spent]:
    """Sum what each file's tests took in all runs of pytest; raises ValueError where a run's end is missing."""
    found: dict[str, Spent] = {}
    of_run: dict[str, float] = defaultdict(float)
    for line in lines:
        if match := _DURATION.match(line):
            of_run[match[3]] += float(match[1])
        elif match := _WHOLE.match(line):
            pace = float(match[1]) / (sum(of_run.values()) or 1.0)
            for name, seconds in of_run.items():
                found[name] = _sum([found.get(name, Spent(0.0, 0.0)), Spent(seconds, seconds * pace)])
            of_run.clear()
    if of_run:
        raise ValueError("the last run's own line, which says how long it took, is missing: is the log whole?")
    return found


def grouped(files: Mapping[str, Spent]) -> dict[str, Spent]:
    """Sum what the files took by group."""
    found: dict[str, list[Spent]] = defaultdict(list)
    for name, spent in files.items():
        found[group_of(name)].append(spent)
    return {name: _sum(parts) for name, parts in found.items()}


def _sum(parts: Iterable[Spent]) -> Spent:
    together = list(parts)
    return Spent(sum(part.tests_s for part in together), sum(part.clock_s for part in together))


def group_of(file: str) -> str:
    """Name the group of a file."""
    matching = (group for group, patterns in GROUPS.items() if any(fnmatch(file, one) for one in patterns))
    return next(matching, REST)


if __name__ == "__main__":
    main()
