"""Own how long an engine takes, by the rows that `make bench-explain` and `make bench-score` measured.

An explanation of T tokens, with b at work: `first_s + (T - 1) · step_s(b)`, where `step_s(b) = fixed_s + each_s · b`:
a step reads the weights once and computes each of its sequences. A score of T tokens takes `T · token_s`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parents[2] / "docs" / "results"
AT_WORK = {"one": 1, "n8": 8}
"""Sequences of the loads of benchmarks/explain that the times are fitted to; another one checks them."""
SCORED = "g8"
"""The workload of benchmarks/score that they are fitted to; the others check them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTime:
    """One engine's times, in seconds."""

    first_s: float
    """Until the first token of an explanation, alone."""
    fixed_s: float
    """Of a step, whatever the number of sequences."""
    each_s: float
    """Of a step, for each of its sequences."""
    token_s: float
    """Of a scored token."""

    def step_s(self, at_work: int) -> float:
        """Give the time between two tokens of a sequence, with so many at work."""
        return self.fixed_s + self.each_s * at_work

    def explain_s(self, tokens: int, *, at_work: int) -> float:
        """Give the time of an explanation."""
        return self.first_s + max(0, tokens - 1) * self.step_s(at_work)

    def score_s(self, tokens: int) -> float:
        """Give the time of a sequence's score."""
        return tokens * self.token_s


def measured(results: Path = RESULTS) -> ServiceTime:
    """Read the times of the committed runs."""
    return fitted(*rows_of(results))


def rows_of(results: Path = RESULTS) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Read the rows of explanations and of scores."""
    return _lines(results / "explain" / "rows.jsonl"), _lines(results / "score" / "rows.jsonl")


def fitted(explained: Iterable[Mapping[str, Any]], scored: Iterable[Mapping[str, Any]]) -> ServiceTime:
    """Fit the times to rows of ours: medians, and the line through the steps of one and of several sequences.

    Raises ValueError where a load or a workload is missing, or where a step of more sequences was not longer.
    """
    firsts: dict[str, list[float]] = {name: [] for name in AT_WORK}
    steps: dict[str, list[float]] = {name: [] for name in AT_WORK}
    for row in (row for row in explained if row["server"] == "ours" and row["load"] in AT_WORK):
        of_each = row["tokens"] / AT_WORK[row["load"]]
        firsts[row["load"]].append(row["first_text_s"])
        steps[row["load"]].append((row["seconds"] - row["first_text_s"]) / (of_each - 1))
    of_score = [
        row["seconds"] / row["tokens"]
        for row in scored
        if row["contender"] == "ours_http" and row["workload"] == SCORED
    ]
    if not all(steps.values()) or not of_score:
        raise ValueError(f"rows of ours are missing: steps {steps}, {len(of_score)} scores")
    alone, several = median(steps["one"]), median(steps["n8"])
    each_s = (several - alone) / (AT_WORK["n8"] - AT_WORK["one"])
    if each_s < 0:
        raise ValueError(f"a step of eight sequences took {several:.4f} s, one of one {alone:.4f} s")
    return ServiceTime(first_s=median(firsts["one"]), fixed_s=alone - each_s, each_s=each_s, token_s=median(of_score))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
