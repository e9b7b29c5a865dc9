"""Own the list of what is measured: each row's cells, and the function that measures those that are missing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.scale import listeners, queue, reading, replicas

Measure = Callable[..., Iterator[tuple[str, dict[str, Any]]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Cells that are measured one after the other; in full at most ten minutes."""

    name: str
    what: str
    cells: Sequence[str]
    measure: Measure
    """Takes the names of missing cells, a share and a folder; gives a name and its figures at a time."""


ROWS = (
    Row(name="replicas", what="one to eight servers", cells=replicas.NAMES, measure=replicas.measure),
    Row(name="queue", what="100,000 jobs that wait, 1,000 workers", cells=queue.NAMES, measure=queue.measure),
    Row(name="reading", what="what reading an answer costs its caller", cells=reading.NAMES, measure=reading.measure),
    Row(name="sse", what="up to 2,000 listeners", cells=listeners.NAMES, measure=listeners.measure),
)
BY_NAME = {row.name: row for row in ROWS}
