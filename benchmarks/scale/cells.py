"""Own the measured cells on disk: a line of JSON each, added when it is measured, so that a run can be gone on with."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One thing that was measured once."""

    row: str
    name: str
    share: float
    """Of the time and the size that it has in full."""
    seconds: float
    """That measuring it took."""
    commit: str
    date: str
    machine: str
    figures: Mapping[str, Any]


def add(cell: Cell, folder: Path) -> None:
    """Add a cell to its row's file."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{cell.row}.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(asdict(cell)) + "\n")


def read(folder: Path, row: str) -> dict[str, Cell]:
    """Give the newest cell of each name; a row that was never run has none."""
    path = folder / f"{row}.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return newest(Cell(**json.loads(line)) for line in lines)


def newest(cells: Iterable[Cell]) -> dict[str, Cell]:
    """Give the last of each name, but none in part where one in full is there."""
    found: dict[str, Cell] = {}
    for cell in cells:
        if cell.name not in found or cell.share >= found[cell.name].share:
            found[cell.name] = cell
    return found


def missing(names: Sequence[str], cells: Mapping[str, Cell], *, share: float) -> list[str]:
    """Give the names that were not measured yet at this share or a larger one, in their order."""
    return [name for name in names if name not in cells or cells[name].share < share]


def percentile(values: Sequence[float], share: float) -> float:
    """Give the least value that this share of all do not exceed; raises ValueError without values."""
    if not values:
        raise ValueError("no values: nothing was measured")
    ordered = sorted(values)
    # Less a hair: 0.07 * 100 is a hair more than 7.
    return ordered[max(0, math.ceil(share * len(ordered) - 1e-9) - 1)]
