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
    """Give the largest and the usual differences of sampled tokens at each temperature, also with top_p below 1."""
    found: dict[str, Any] = {"tolerance": TOLERANCE, "temperatures": _by_temperature(rows, top_p=1.0)}
    for top_p in sorted({row["top_p"] for row in rows if row.get("top_p", 1.0) < 1.0}):
        found.setdefault("top_p", {})[str(top_p)] = _by_temperature(rows, top_p=top_p)
    return found


def _by_temperature(rows: Sequence[Mapping[str, Any]], *, top_p: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for temperature in TEMPERATURES:
        mine = [row for row in rows if (row["temperature"], row.get("top_p", 1.0)) == (temperature, top_p)]
        part = {
            "tokens": sum(row["tokens"] for row in mine),
            "over_tolerance": sum(row["over_tolerance"] for row in mine),
            "largest_difference": max(row["largest_difference"] for row in mine),
            "median_of_largest": median(row["largest_difference"] for row in mine),
        }
        whole = [row["largest_from_whole_vocabulary"] for row in mine if "largest_from_whole_vocabulary" in row]
        found[str(temperature)] = part | ({"largest_from_whole_vocabulary": max(whole)} if whole else {})
    return found
