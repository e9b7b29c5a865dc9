"""Compute the figures of `make bench-swap` from what the clients saw. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any


def figures_of(rows: Sequence[Mapping[str, Any]], swaps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give one engine's part of docs/results/swap.json; rows of phase `before` are the yardstick of p99_ratio."""
    latencies = {
        phase: [row["answered_s"] - row["asked_s"] for row in rows if row["phase"] == phase and row["status"] == 200]
        for phase in ("before", "swaps")
    }
    to_first = [swap["first_answer_s"] - swap["asked_s"] for swap in swaps if swap["kind"] == "promotion"]
    rollbacks = [swap["first_answer_s"] - swap["asked_s"] for swap in swaps if swap["kind"] == "rollback"]
    return {
        "swaps": len(swaps),
        "requests": len(rows),
        "failed": sum(row["status"] != 200 for row in rows),
        "mixed": sum(row["mixed"] for row in rows),
        "swap_p50_s": percentile(to_first, 0.5),
        "swap_p99_s": percentile(to_first, 0.99),
        "rollback_p99_s": percentile(rollbacks, 0.99),
        "request_p99_s": {phase: percentile(values, 0.99) for phase, values in latencies.items()},
        "p99_ratio": round(percentile(latencies["swaps"], 0.99) / percentile(latencies["before"], 0.99), 3),
    }


def keeps_the_promises(figures: Mapping[str, Any]) -> bool:
    """Tell whether nothing failed or mixed, requests slowed down by at most 2, and rollbacks took at most 5 s."""
    whole = figures["failed"] == figures["mixed"] == 0
    return whole and figures["p99_ratio"] <= 2.0 and figures["rollback_p99_s"] <= 5.0


def percentile(values: Sequence[float], share: float) -> float:
    """Give the value that `share` of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 4)
