"""Own what the model says of things that were measured and that its inputs were not taken from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.scale import replicas
from benchmarks.scale.model import Engine, Plan, simulate
from benchmarks.scale.service_time import ServiceTime, fitted, rows_of

OF_EXPLAIN = "callers8"
"""Eight callers of one explanation each; the times are fitted to one caller, alone and with eight samples."""
SLOTS = 32
"""RLT_MAX_RUNNING on a CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing, in its unit, by the model and as it was measured."""

    what: str
    unit: str
    modelled: float
    measured: float

    @property
    def ratio(self) -> float:
        """Say how far off the model is: above 1 it says more than was measured."""
        return self.modelled / self.measured


def checks_of(results: Path, scale: Mapping[str, Any]) -> list[Check]:
    """Check against the committed rows, and against the replicas of scale.json where those were measured."""
    explained, scored = rows_of(results)
    time_of = fitted(explained, scored)
    return [_explained(explained, time_of), *_scored(scored, time_of), *_served(scale)]


def _explained(rows: Sequence[Mapping[str, Any]], time_of: ServiceTime) -> Check:
    of_it = [row for row in rows if row["server"] == "ours" and row["load"] == OF_EXPLAIN]
    each = round(median(row["tokens"] for row in of_it) / 8)
    engine = Engine(slots=SLOTS, first_s=time_of.first_s, fixed_s=time_of.fixed_s, each_s=time_of.each_s)
    plan = Plan(teacher=engine, teachers=1, students=1, score_token_s=0.0)
    return Check(
        what=f"8 callers, {each} tokens each, until all are answered",
        unit="s",
        modelled=simulate(plan, [[each]] * 8).generated_s,
        measured=median(row["seconds"] for row in of_it),
    )


def _scored(rows: Sequence[Mapping[str, Any]], time_of: ServiceTime) -> list[Check]:
    found: list[Check] = []
    for workload in ("unshared", "g64", "long"):
        of_it = [row for row in rows if row["contender"] == "ours_http" and row["workload"] == workload]
        if of_it:
            tokens = median(row["tokens"] for row in of_it)
            found.append(
                Check(
                    what=f"scores of `{workload}`, {tokens:,.0f} tokens",
                    unit="s",
                    modelled=time_of.score_s(int(tokens)),
                    measured=median(row["seconds"] for row in of_it),
                )
            )
    return found


def _served(scale: Mapping[str, Any]) -> list[Check]:
    """Callers that each wait for an engine of known time: what they get a second if nothing else took any."""
    found: list[Check] = []
    for call in replicas.TIMED:
        for count, seen in scale.get("replicas", {}).get(call, {}).items():
            found.append(
                Check(
                    what=f"`{call}`, {count} servers, {seen['callers']} callers",
                    unit="requests/s",
                    modelled=seen["callers"] / seen["engine_mean_s"],
                    measured=seen["requests_per_s"],
                )
            )
    return found
