"""Own the figures of `make bench-scale`: cells in, docs/results/scale.json out. Pure.

Only cells in full count; what was not measured is null, and the page says so.
"""

from collections.abc import Mapping
from typing import Any

from benchmarks.scale import listeners, queue, replicas
from benchmarks.scale.cells import Cell

COMMAND = "make bench-scale"
LATE_S = 5.0
"""Listeners are counted as served where 99% of events are not later than this, and no stream broke."""
Cells = Mapping[str, Mapping[str, Cell]]
"""By row and name."""


def figures_of(cells: Cells) -> dict[str, Any]:
    """Give all figures; `commit`, `date` and `machine` are those of the newest cell."""
    full = {row: _in_full(cells.get(row, {})) for row in ("replicas", "queue", "reading", "sse")}
    found: dict[str, Any] = {
        "replicas": _replicas(full["replicas"]),
        "queue": _queue(full["queue"]),
        "sse_listeners": _listeners(full["sse"]),
        "reading": dict(full["reading"]["explain"].figures) if "explain" in full["reading"] else None,
        "sse": {name: dict(full["sse"][name].figures) for name in listeners.NAMES if name in full["sse"]},
    }
    every = [cell for row in full.values() for cell in row.values()]
    newest = max(every, key=lambda cell: cell.date, default=None)
    facts = {name: None if newest is None else getattr(newest, name) for name in ("commit", "date", "machine")}
    commits = sorted({cell.commit for cell in every})
    return found | facts | {"commits": commits, "command": COMMAND}


def _in_full(cells: Mapping[str, Cell]) -> dict[str, Cell]:
    return {name: cell for name, cell in cells.items() if cell.share >= 1.0}


def _replicas(cells: Mapping[str, Cell]) -> dict[str, dict[str, Any]]:
    """Give figures by call and number of servers."""
    return {
        call: by_count
        for call in (*replicas.CALLS, *replicas.TIMED)
        if (
            by_count := {
                str(count): dict(cells[f"{call}-{count}"].figures)
                for count in replicas.COUNTS
                if f"{call}-{count}" in cells
            }
        )
    }


def _queue(cells: Mapping[str, Cell]) -> dict[str, Any] | None:
    """Give the figures on Postgres, which many machines need, or else on SQLite; and those of both."""
    there = [kind for kind in reversed(queue.KINDS) if kind in cells]
    if not there:
        return None
    names = ("queued", "workers", "jobs_per_s", "start_p99_s")
    shown = cells[there[0]].figures
    return {name: shown.get(name) for name in names} | {
        "database": there[0],
        "by_database": {kind: dict(cells[kind].figures) for kind in there},
    }


def _listeners(cells: Mapping[str, Cell]) -> int | None:
    """Give the most listeners that were served; null where none was measured."""
    if not cells:
        return None
    served = [
        int(name)
        for name, cell in cells.items()
        if not cell.figures["broken"] and cell.figures.get("late_p99_s", LATE_S + 1) <= LATE_S
    ]
    return max(served, default=0)
