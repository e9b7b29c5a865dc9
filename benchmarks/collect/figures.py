"""Compute the figures of `make bench-collect` from its rows. Pure."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.ratios import paired_ratio

WAYS = ("collect", "plain")
PROMISED = 0.97
"""Least ratio of collect over the plain script, within its interval."""


def figures_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give medians of both ways, and the ratio of collect over plain (above 1: collect is faster), pair by pair.

    `promise_kept` holds where the ratio's interval reaches the promised one.
    """
    of_way = {way: sorted((row for row in rows if row["way"] == way), key=lambda row: row["repeat"]) for way in WAYS}
    rates = {
        measure: {way: [row[measure] / row["seconds"] for row in found] for way, found in of_way.items()}
        for measure in ("questions", "tokens")
    }
    ratios = {measure: paired_ratio(rates[measure]["collect"], rates[measure]["plain"]) for measure in rates}
    return {
        **{
            f"{measure}_per_s": {way: round(median(values), 3) for way, values in found.items()}
            for measure, found in rates.items()
        },
        **{f"{measure}_ratio": found for measure, found in ratios.items()},
        "promise_kept": ratios["questions"]["ci_high"] >= PROMISED,
    }
