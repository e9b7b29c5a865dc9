"""Own the record of guards and its table in docs/reliability.md: `python -m benchmarks.reliability.guards_page`."""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

from benchmarks.reliability.guards_table import GUARDS
from benchmarks.reliability.page import RESULTS

RECORD = Path("reliability") / "guards.jsonl"
COMMAND = "make guards"


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardRow:
    """What one test said, with and without one guard."""

    guard: str
    section: str
    promise: str
    file: str
    mutation: str
    """As Guard.mutation names it."""
    test: str
    passes_with_guard: bool
    fails_without: bool
    how: str
    """The words of its failure."""
    seconds: float
    """Of the test without the guard."""
    commit: str
    date: str
    machine: str
    command: str = COMMAND

    @property
    def is_proof(self) -> bool:
        """Whether the test holds the promise to its guard."""
        return self.passes_with_guard and self.fails_without


def read_rows(results: Path = RESULTS) -> list[GuardRow]:
    """Read the record; empty where there is none."""
    path = results / RECORD
    if not path.exists():
        return []
    return [GuardRow(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def write_rows(rows: Sequence[GuardRow], results: Path = RESULTS) -> None:
    """Write rows in place of those of the same guards, in the table's order; what the table no longer names goes."""
    new = {row.guard for row in rows}
    kept = [row for row in read_rows(results) if row.guard not in new]
    places = {guard.name: place for place, guard in enumerate(GUARDS)}
    ordered = sorted((row for row in [*kept, *rows] if row.guard in places), key=lambda row: places[row.guard])
    lines = [json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in ordered]
    (results / RECORD).write_text("".join(lines), encoding="utf-8")
    page = results.parent / "reliability.md"
    page.write_text(with_guards(page.read_text(encoding="utf-8"), ordered), encoding="utf-8")


def with_guards(page: str, rows: Sequence[GuardRow]) -> str:
    """Give the page with the table that the rows make."""
    table = f"<!-- guards -->\n{_source(rows)}\n\n{table_of(rows)}\n<!-- /guards -->"
    return re.sub(r"<!-- guards -->.*?<!-- /guards -->", lambda _: table, page, flags=re.DOTALL)


def table_of(rows: Sequence[GuardRow]) -> str:
    """Write the table, a line a guard."""
    lines = [
        "| part | guard: promise | where | tests that fail without it | how the first one fails |",
        "|---|---|---|---|---|",
    ]
    for name, group in groupby(rows, key=lambda row: row.guard):
        of_guard = list(group)
        first = of_guard[0]
        proofs = sum(row.is_proof for row in of_guard)
        how = first.how.replace("|", "\\|").replace("`", "'")
        lines.append(
            f"| {first.section} | {name}: {first.promise} | `{first.file}` | {proofs} of {len(of_guard)}: "
            f"`{_short(first.test)}` | `{how}` |"
        )
    return "\n".join(lines)


def _short(test: str) -> str:
    """Leave the folders out: a test's name is long enough."""
    return test.rpartition("/")[2].replace("|", "\\|")


def _source(rows: Sequence[GuardRow]) -> str:
    commits, dates, machines = (
        ", ".join(sorted({getattr(row, field) for row in rows})) for field in ("commit", "date", "machine")
    )
    return f"`{COMMAND}`, {dates}, commit {commits}, {machines}."


if __name__ == "__main__":
    write_rows([])
