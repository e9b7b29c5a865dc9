"""Own the figures of a row and the table of docs/reliability.md: failures among trials, and what they bound. Pure."""

import math
from collections.abc import Sequence
from typing import Any

from benchmarks.reliability.trial import Trial

CONFIDENCE = 0.95


def upper_bound(failures: int, trials: int) -> float:
    """Give the one-sided 95% upper bound of a share (Clopper and Pearson): 1 - 0.05^(1/n) where nothing failed.

    The largest share at which so few failures would still be seen in 5% of such runs; found by halving.
    """
    if trials == 0 or failures >= trials:
        return 1.0
    low, high = failures / trials, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        if _at_most(failures, trials, middle) > 1.0 - CONFIDENCE:
            low = middle
        else:
            high = middle
    return high


def _at_most(failures: int, trials: int, share: float) -> float:
    """Give the chance of at most `failures` among `trials`, by logarithms, since the terms are tiny."""
    if share >= 1.0:
        return 0.0
    total = 0.0
    for count in range(failures + 1):
        ways = math.lgamma(trials + 1) - math.lgamma(count + 1) - math.lgamma(trials - count + 1)
        total += math.exp(ways + count * math.log(max(share, 1e-300)) + (trials - count) * math.log1p(-share))
    return total


def row_of(trials: Sequence[Trial], *, name: str, promise: str, real_parts: str, note: str) -> dict[str, Any]:
    """Summarise the trials of one row."""
    failed = [trial for trial in trials if not trial.passed]
    times = sorted(trial.seconds for trial in trials if trial.seconds)
    return {
        "name": name,
        "promise": promise,
        "trials": len(trials),
        "failures": len(failed),
        "upper95": round(upper_bound(len(failed), len(trials)), 6),
        "real_parts": real_parts,
        "note": note,
        "longest_s": times[-1] if times else None,
        "median_s": times[len(times) // 2] if times else None,
    }


def table_of(rows: Sequence[dict[str, Any]]) -> str:
    """Write the table."""
    lines = [
        "| fault or load: passes when | trials | failures | 95% upper bound | median, longest | what was real | run |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        times = "" if row["longest_s"] is None else f"{row['median_s']:.1f}, {row['longest_s']:.1f} s"
        note = f" {row['note']}" if row["note"] else ""
        lines.append(
            f"| {row['promise']} | {row['trials']:,} | {row['failures']} | {_share(row['upper95'])} | {times} "
            f"| {row['real_parts']}.{note} | {_run(row)} |"
        )
    return "\n".join(lines)


def _run(row: dict[str, Any]) -> str:
    """Say how a row was made: its command, the day, the commit."""
    made = (f"`{row['command']}`" if row.get("command") else "", row.get("date", ""), row.get("commit", ""))
    return ", ".join(part for part in made if part)


def _share(upper: float) -> str:
    return "100%" if upper > 0.995 else f"{upper * 100:.2g}%"
