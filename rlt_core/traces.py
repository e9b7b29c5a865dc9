"""Own which text of a row a model learns to write before the solution, and whose that text is. Pure."""

from collections.abc import Iterable, Sequence
from typing import Literal

from rlt_core.schemas.collect import PROVENANCE
from rlt_core.schemas.datasets import DatasetRow

SupervisedKind = Literal["warmup", "distill"]
TRACE_COLUMNS: dict[SupervisedKind, tuple[str, ...]] = {
    "warmup": ("reasoning_trace",),
    "distill": ("explanation", "thought", "reasoning_trace"),
}
"""By kind of job: the columns that may hold the text; the first that a row has is taken."""


def trace_of(row: DatasetRow, *, kind: SupervisedKind) -> str | None:
    """Give the text that a row teaches; None where no column holds one.

    Of a collected row it is the `reasoning_trace`, which its teacher wrote: other columns came with the question.
    """
    columns = ("reasoning_trace",) if PROVENANCE in row.metadata else TRACE_COLUMNS[kind]
    found = (_text(row, column) for column in columns)
    return next((text for text in found if text), None)


def longest_trace(row: DatasetRow) -> str:
    """Give the longest text that any kind would take of a row, empty where there is none."""
    return max((_text(row, column) or "" for column in TRACE_COLUMNS["distill"]), key=len)


def missing_trace(rows: Sequence[DatasetRow], *, kind: SupervisedKind) -> str | None:
    """Say which rows have nothing to learn from, and what to do about it; None where all have."""
    missing, first = 0, None
    for row in rows:
        if trace_of(row, kind=kind) is None:
            missing, first = missing + 1, first if missing else row.id
    if not missing:
        return None
    names = " or ".join(TRACE_COLUMNS[kind])
    column = TRACE_COLUMNS[kind][-1]
    return (
        f"{missing} of {len(rows)} rows have no {names}, the first is {first!r}: a {NOUNS[kind]} learns one "
        f'of every row; upload with ?columns={{"{column}": "…"}}'
    )


NOUNS: dict[SupervisedKind, str] = {"warmup": "warm-up", "distill": "distillation"}


def teachers_of(rows: Iterable[DatasetRow]) -> list[str]:
    """List the versions that rows name as their teacher, each once, in the order of their names.

    A collected row does in `collect.teacher`, any other may in a column `teacher`.
    """
    found: set[str] = set()
    for row in rows:
        provenance = row.metadata.get(PROVENANCE)
        teacher = provenance.get("teacher") if isinstance(provenance, dict) else row.metadata.get("teacher")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - JSON
        if isinstance(teacher, str):
            found.add(teacher)
    return sorted(found)


def _text(row: DatasetRow, column: str) -> str | None:
    value = row.reasoning_trace if column == "reasoning_trace" else row.metadata.get(column)
    return value if isinstance(value, str) and value.strip() else None
