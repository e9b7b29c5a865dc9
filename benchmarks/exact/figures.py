"""Compute the figures of `make exact`, and of the comparison of sampled tokens, from their rows. Pure."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

TEMPERATURES = (0.7, 1.0)
TOLERANCE = 1e-4


def figures_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give the largest and the usual differences of each student and temperature."""
    settings: dict[str, Any] = {}
    for student in ("base", "lora"):
        for temperature in TEMPERATURES:
            mine = [row for row in rows if (row["student"], row["temperature"]) == (student, temperature)]
            settings[f"{student}, temperature {temperature}"] = {
                "tokens": sum(row["scored_tokens"] for row in mine),
                "over_tolerance": sum(row["over_tolerance"] for row in mine),
                "largest_difference": max(row["largest_difference"] for row in mine),
                "median_of_largest": median(row["largest_difference"] for row in mine),
                "largest_from_float64": {
                    who: max(row["from_float64"][who] for row in mine if "from_float64" in row)
                    for who in ("ours", "transformers")
                },
            }
    return {"tolerance": TOLERANCE, "settings": settings}


def sampled_figures_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give the largest and the usual differences of sampled tokens at each temperature."""
    found: dict[str, Any] = {}
    for temperature in TEMPERATURES:
        mine = [row for row in rows if row["temperature"] == temperature]
        found[str(temperature)] = {
            "tokens": sum(row["tokens"] for row in mine),
            "over_tolerance": sum(row["over_tolerance"] for row in mine),
            "largest_difference": max(row["largest_difference"] for row in mine),
            "median_of_largest": median(row["largest_difference"] for row in mine),
        }
    return {"tolerance": TOLERANCE, "temperatures": found}
