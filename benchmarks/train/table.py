"""Compute the figures of `make bench-train` from its rows. Pure."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.ratios import paired_ratio

RIVALS = ("one_at_a_time", "batched")
PARTS = ("rollout_s", "score_s", "train_s", "publish_s")
"""Of our step; a rival's are the first three."""


def figures_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give each way's median seconds a step, the rivals' over ours with 95% intervals, and where ours go."""
    seconds = {name: [row["seconds"] for row in _of(rows, name)] for name in ("ours", *RIVALS)}
    ours = _of(rows, "ours")
    return {
        **{f"{name}_s": round(median(values), 3) for name, values in seconds.items()},
        "steps": len(ours),
        "breakdown": _parts(ours, PARTS),
        "breakdown_of_rivals": {name: _parts(_of(rows, name), PARTS[:3]) for name in RIVALS},
        "length": {name: round(median([row["length"] for row in _of(rows, name)]), 1) for name in seconds},
        "ratios": {name: paired_ratio(seconds[name], seconds["ours"]) for name in RIVALS},
    }


def _parts(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, float]:
    return {name: round(median([row[name] for row in rows]), 3) for name in names}


def _of(rows: Sequence[Mapping[str, Any]], who: str) -> list[Mapping[str, Any]]:
    return sorted((row for row in rows if row["who"] == who), key=lambda row: row["step"])
