"""Compute the figures of `make bench-explain` from its rows. Pure."""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from rlt_core.statistics import paired_difference

RIVALS = {"vllm": "", "vllm_bare": "_bare"}
"""vLLM's server with LoRA enabled, and without; what their ratios' names in explain.json end with."""


def figures_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give medians of all servers, and ours over each of the others (above 1 is better for us) with 95% intervals."""
    return {"loads": {load: _load([row for row in rows if row["load"] == load]) for load in _names(rows, "load")}}


def _names(rows: Sequence[Mapping[str, Any]], what: str) -> list[str]:
    return list(dict.fromkeys(row[what] for row in rows))


def _load(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = [name for name in ("ours", *RIVALS) if name in _names(rows, "server")]
    rate = {name: [row["tokens"] / row["seconds"] for row in _of(rows, name)] for name in names}
    first = {name: [row["first_text_s"] for row in _of(rows, name)] for name in names}
    found: dict[str, Any] = {
        "tokens_per_s": {name: round(median(values), 1) for name, values in rate.items()},
        "first_text_s": {name: round(median(values), 4) for name, values in first.items()},
    }
    for name in names[1:]:
        found[f"tokens_per_s_ratio{RIVALS[name]}"] = _ratio(rate["ours"], rate[name])
        found[f"first_text_ratio{RIVALS[name]}"] = _ratio(first[name], first["ours"])
    return found


def _of(rows: Sequence[Mapping[str, Any]], server: str) -> list[Mapping[str, Any]]:
    return sorted((row for row in rows if row["server"] == server), key=lambda row: row["repeat"])


def _ratio(over: Sequence[float], under: Sequence[float]) -> dict[str, float]:
    found = paired_difference(before=[math.log(value) for value in under], after=[math.log(value) for value in over])
    named = (("ratio", found.mean), ("ci_low", found.ci_low), ("ci_high", found.ci_high))
    return {name: round(math.exp(value), 4) for name, value in named}
