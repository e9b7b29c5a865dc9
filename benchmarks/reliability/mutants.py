"""Own a copy of the repository in which a guard can be taken out, and how tests end there."""

import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import psutil

from benchmarks.reliability.guard import Guard

ROOT = Path(__file__).parents[2]
PACKAGES = (".", "clients", "services")
"""Where the project's packages lie."""
TIMEOUT_S = 90
"""For one test; what a guard's absence makes hang counts as noticed, and is called so."""
MARK = "RLT_GUARDS_RUN"
_LONGEST_WORDS = 160

Ending = Literal["passed", "failed", "error", "skipped", "hung", "missing"]

_ENDINGS: dict[str, Ending] = {"failure": "failed", "error": "error", "skipped": "skipped"}
"""What stands in a report for what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one test ended; `how` are the words of its failure."""

    ending: Ending
    how: str = ""
    seconds: float = 0.0


class Copy:
    """The tracked files, as they lie in the working tree, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._mark = uuid.uuid4().hex

    def fill(self) -> None:
        """Copy them."""
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for name in filter(None, listed.split("\0")):
            target = self._folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)

    @contextmanager
    def without(self, guard: Guard) -> Generator[None]:
        """Take a guard out for as long as the block runs; ValueError where it does not stand there exactly once."""
        path = self._folder / guard.file
        whole = path.read_text(encoding="utf-8")
        path.write_text(taken_out(guard, whole), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(whole, encoding="utf-8")

    def run(self, tests: Sequence[str]) -> dict[str, Outcome]:
        """Run tests in a process of their own, and end whatever they leave behind."""
        report = self._folder / "report.xml"
        report.unlink(missing_ok=True)
        words = ["-q", "--tb=short", "-p", "no:cacheprovider", f"--timeout={TIMEOUT_S}", f"--junitxml={report}", *tests]
        try:
            subprocess.run(
                [sys.executable, "-m", "pytest", *words],
                cwd=self._folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=2 * TIMEOUT_S + 30 * len(tests),
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {test: Outcome(ending="hung", how="it did not end") for test in tests}
        finally:
            self._end_leftovers()
        found = outcomes_of(report.read_text(encoding="utf-8")) if report.exists() else {}
        return {test: found.get(_key(test), Outcome(ending="missing", how="no such test was run")) for test in tests}

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(self._folder / package) for package in PACKAGES),
            # Two files of one size that are written within a second pass for each other in a cache of bytecode.
            "PYTHONDONTWRITEBYTECODE": "1",
            MARK: self._mark,
        }

    def _end_leftovers(self) -> None:
        """Without its guard, code leaves processes behind: those that carry this copy's mark."""
        for process in psutil.process_iter():
            try:
                if process.pid != os.getpid() and process.environ().get(MARK) == self._mark:
                    process.kill()
            except (psutil.Error, OSError):
                continue


def taken_out(guard: Guard, text: str) -> str:
    """Give a file's text without the guard; raises ValueError unless it stands there exactly once."""
    if text.count(guard.old) != 1:
        raise ValueError(f"{guard.name}: what {guard.file} should hold once, it holds {text.count(guard.old)} times")
    return text.replace(guard.old, guard.new)


def outcomes_of(report: str) -> dict[tuple[str, str], Outcome]:
    """Read pytest's JUnit report, by module and name."""
    found: dict[tuple[str, str], Outcome] = {}
    for case in ElementTree.fromstring(report).iter("testcase"):
        key = (case.get("classname", ""), case.get("name", ""))
        found[key] = _outcome(case, seconds=round(float(case.get("time", "0")), 2))
    return found


def _outcome(case: ElementTree.Element, *, seconds: float) -> Outcome:
    # A fixture's fault while it is taken down comes beside the test's own failure, which goes first.
    for tag, ending in _ENDINGS.items():
        fault = case.find(tag)
        if fault is not None:
            how = words_of(fault.get("message", ""))
            return Outcome(ending="hung" if "Timeout (>" in how else ending, how=how, seconds=seconds)
    return Outcome(ending="passed", seconds=seconds)


def words_of(message: str) -> str:
    """Give a failure's first line, without what differs from run to run."""
    first = next((line.strip() for line in message.splitlines() if line.strip()), "")
    first = re.sub(r"/[^\s'\")\]]*/", "…/", first)
    first = re.sub(r"\b([a-z]+)_[0-9a-f]{20}", r"\1_…", first)
    return first if len(first) <= _LONGEST_WORDS else first[:_LONGEST_WORDS] + "…"


def _key(test: str) -> tuple[str, str]:
    path, _, name = test.partition("::")
    return path.removesuffix(".py").replace("/", "."), name
