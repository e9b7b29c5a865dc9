"""Compute the figures of `make bench-explain` from its rows. Pure."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.ratios import paired_ratio

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
        found[f"tokens_per_s_ratio{RIVALS[name]}"] = paired_ratio(rate["ours"], rate[name])
        found[f"first_text_ratio{RIVALS[name]}"] = paired_ratio(first[name], first["ours"])
    return found


def _of(rows: Sequence[Mapping[str, Any]], server: str) -> list[Mapping[str, Any]]:
    return sorted((row for row in rows if row["server"] == server), key=lambda row: row["repeat"])
