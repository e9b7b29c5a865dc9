"""Own rows whose trials are tests of the suite: each case that ran is a trial, one that was skipped has not passed."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.reliability.trial import Trial

ROOT = Path(__file__).parents[2]
RAN = (0, 1)
"""pytest's exit codes for: all passed, some failed; the others say that it did not come to that."""


def cases_of(
    row: str, *node_ids: str, most_s: float | None = None, root: Path = ROOT
) -> Callable[..., Iterator[Trial]]:
    """Make the trials of a row: tests, by pytest's names for them; a case may take `most_s`, where given."""

    def trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
        number = 0
        for turn in range(count):
            for case in _cases(node_ids, report=folder / f"{row}-{turn}.xml", root=root):
                seconds = round(float(case.get("time", "0")), 4)
                soon = most_s is None or seconds <= most_s
                yield Trial(
                    row=row,
                    number=number,
                    seed=seed,
                    fault=f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}",
                    passed=soon and not _faults(case),
                    seconds=0.0 if most_s is None else seconds,
                    detail=_said(case),
                )
                number += 1

    return trials


def _cases(node_ids: Sequence[str], *, report: Path, root: Path) -> Iterator[ElementTree.Element]:
    report.parent.mkdir(parents=True, exist_ok=True)
    words = ["-q", "-p", "no:cacheprovider", f"--junitxml={report}", "-o", "junit_duration_report=call"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *node_ids], cwd=root, capture_output=True, text=True, check=False
    )
    if ended.returncode not in RAN:
        raise RuntimeError(f"pytest ended with {ended.returncode} on {', '.join(node_ids)}:\n{ended.stdout[-2000:]}")
    yield from ElementTree.parse(report).iter("testcase")


def _said(case: ElementTree.Element) -> str:
    """Give the first line of what went wrong, or why it was skipped."""
    return "; ".join(f"{one.tag}: {one.get('message', '').partition(chr(10))[0][:300]}" for one in _faults(case))


def _faults(case: ElementTree.Element) -> list[ElementTree.Element]:
    return [*case.findall("failure"), *case.findall("error"), *case.findall("skipped")]
