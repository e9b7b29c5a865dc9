"""Compute the figures of `make bench-explain` from its rows. Pure."""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from rlt_core.statistics import paired_difference


def figures_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give medians of both servers, and ours over theirs (above 1 is better for us) with 95% intervals."""
    return {"loads": {load: _load([row for row in rows if row["load"] == load]) for load in _names(rows)}}


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["load"] for row in rows))


def _load(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    rate = {name: [row["tokens"] / row["seconds"] for row in _of(rows, name)] for name in ("ours", "vllm")}
    first = {name: [row["first_text_s"] for row in _of(rows, name)] for name in ("ours", "vllm")}
    return {
        "tokens_per_s": {name: round(median(values), 1) for name, values in rate.items()},
        "tokens_per_s_ratio": _ratio(rate["ours"], rate["vllm"]),
        "first_text_s": {name: round(median(values), 4) for name, values in first.items()},
        "first_text_ratio": _ratio(first["vllm"], first["ours"]),
    }


def _of(rows: Sequence[Mapping[str, Any]], server: str) -> list[Mapping[str, Any]]:
    return sorted((row for row in rows if row["server"] == server), key=lambda row: row["repeat"])


def _ratio(over: Sequence[float], under: Sequence[float]) -> dict[str, float]:
    found = paired_difference(before=[math.log(value) for value in under], after=[math.log(value) for value in over])
    named = (("ratio", found.mean), ("ci_low", found.ci_low), ("ci_high", found.ci_high))
    return {name: round(math.exp(value), 4) for name, value in named}
