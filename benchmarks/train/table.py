"""Compute the figures of `make bench-train` from its rows. Pure."""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from rlt_core.statistics import paired_difference

RIVALS = ("one_at_a_time", "batched")
PARTS = ("rollout_s", "score_s", "train_s", "publish_s")


def figures_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give each way's median seconds a step, the rivals' over ours with 95% intervals, and where ours go."""
    seconds = {name: [row["seconds"] for row in _of(rows, name)] for name in ("ours", *RIVALS)}
    ours = _of(rows, "ours")
    return {
        **{f"{name}_s": round(median(values), 3) for name, values in seconds.items()},
        "steps": len(ours),
        "breakdown": {part: round(median([row[part] for row in ours]), 3) for part in PARTS},
        "length": {name: round(median([row["length"] for row in _of(rows, name)]), 1) for name in seconds},
        "ratios": {name: _ratio(seconds[name], seconds["ours"]) for name in RIVALS},
    }


def _of(rows: Sequence[Mapping[str, Any]], who: str) -> list[Mapping[str, Any]]:
    return sorted((row for row in rows if row["who"] == who), key=lambda row: row["step"])


def _ratio(over: Sequence[float], under: Sequence[float]) -> dict[str, float]:
    found = paired_difference(before=[math.log(value) for value in under], after=[math.log(value) for value in over])
    named = (("ratio", found.mean), ("ci_low", found.ci_low), ("ci_high", found.ci_high))
    return {name: round(math.exp(value), 3) for name, value in named}
