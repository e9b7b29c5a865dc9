"""Own the table of sizes in docs/reliability.md: each row's trials in `make test`, in full, and in the design.

`python -m benchmarks.reliability.sizes`
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.reliability.rows import ROWS, Row

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """What the design asks of every day."""

    trials: int | None
    """None where it names no number for this row."""
    what: str = ""
    """What a trial is, or does every day, where that is not plain."""
    why_less: str = ""
    """Why `make test` makes fewer."""


FITS = "does not fit into the seven minutes that these rows may take"
TIMES = "bounds times that a busy machine does not keep"
SUITE = Bracket(trials=None)
BRACKETS: Mapping[str, Bracket] = {
    "kills-stub": Bracket(trials=50, why_less=FITS),
    "kills-real": Bracket(trials=None),
    "kills-postgres": Bracket(trials=None),
    "acknowledged": Bracket(trials=50, why_less=FITS),
    "same-submission": Bracket(trials=1, what="one submission, 100 times at once where the design asks for 20"),
    "broker": Bracket(trials=1, what="each of the four faults once; an outage of 4 s in `make test`, of 60 s in full"),
    "stalled-worker": Bracket(trials=10, why_less=FITS),
    "resume": Bracket(trials=3),
    "cancel": Bracket(trials=20, why_less=FITS),
    "cancel-by-default": Bracket(trials=None, why_less="takes half a minute each"),
    "drain": Bracket(trials=5, why_less=FITS),
    "overload": Bracket(trials=None, why_less=f"{TIMES}; `tests/service/test_overload.py` sends the same load"),
    "overload-sustained": Bracket(trials=1, what="one server, for 10 s in `make test`, for 60 s in full"),
    "engine-killed": Bracket(trials=3),
    "engine-killed-real": Bracket(trials=None, why_less="vLLM starts too often for every day"),
    "sse": Bracket(trials=20, what="a cut stream", why_less=FITS),
    "bad-adapters": SUITE,
    "bad-checkpoints": SUITE,
    "disk-full": SUITE,
    "bad-inputs": SUITE,
    "chaos": Bracket(trials=2_000, what="one job, and three about all of them", why_less=FITS),
    "chaos-real": Bracket(trials=None),
    "chaos-postgres": Bracket(trials=None, why_less=FITS),
}


def faults_of(rows: Sequence[Row], brackets: Mapping[str, Bracket]) -> list[str]:
    """Say which rows have no bracket or brackets no row, and where fewer trials are made than it without a reason."""
    names = {row.name for row in rows}
    found = [f"{name}: in one list only" for name in sorted(names ^ set(brackets))]
    for row in (row for row in rows if row.name in brackets):
        bracket = brackets[row.name]
        is_less = row.in_ci < (bracket.trials or 0)
        if is_less and not bracket.why_less:
            found.append(f"{row.name}: {row.in_ci} in make test, {bracket.trials} in the bracket, and no reason")
        if bracket.why_less and bracket.trials is not None and not is_less:
            found.append(f"{row.name}: a reason for less, and no less")
    return found


def table_of(rows: Sequence[Row], brackets: Mapping[str, Bracket]) -> str:
    """Write the table; raises ValueError where the two lists do not go together."""
    if faults := faults_of(rows, brackets):
        raise ValueError("; ".join(faults))
    lines = ["| row | in `make test` | in full | design, every day | |", "|---|---|---|---|---|"]
    for row in rows:
        bracket = brackets[row.name]
        daily = "as tests" if bracket is SUITE else f"{row.in_ci:,}"
        named = "" if bracket.trials is None else f"{bracket.trials:,}"
        full = "as tests" if bracket is SUITE else f"{row.in_full:,}"
        said = "; ".join(text for text in (bracket.what, bracket.why_less) if text)
        lines.append(f"| `{row.name}` | {daily} | {full} | {named} | {said} |")
    return "\n".join(lines)


def with_sizes(page: str, table: str) -> str:
    """Give the page with this table; raises ValueError where it has no place for it."""
    found, times = re.subn(
        r"<!-- sizes -->.*?<!-- /sizes -->",
        lambda _: f"<!-- sizes -->\n{table}\n<!-- /sizes -->",
        page,
        flags=re.DOTALL,
    )
    if times != 1:
        raise ValueError(f"{times} places for the table of sizes, not one")
    return found


if __name__ == "__main__":
    PAGE.write_text(with_sizes(PAGE.read_text(encoding="utf-8"), table_of(ROWS, BRACKETS)), encoding="utf-8")
