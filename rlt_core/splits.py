"""Own which rows of a dataset are trained on and which are held out: select, gate and report never share a question."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlt_core.errors import InvalidRequestError
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.training import Splits

HELD_OUT = ("select", "gate", "report")
"""Order in which fractions are taken; an earlier split also wins a question that two datasets share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRows:
    """Rows by use; no question stands in two of them."""

    train: tuple[DatasetRow, ...]
    select: tuple[DatasetRow, ...]
    gate: tuple[DatasetRow, ...]
    report: tuple[DatasetRow, ...]


def split_rows(
    rows: Sequence[DatasetRow],
    *,
    splits: Splits,
    seed: int,
    held_out: Mapping[str, Sequence[DatasetRow]] | None = None,
) -> SplitRows:
    """Divide rows by question, not by row, so that a repeated question cannot be both trained on and held out.

    A fraction takes that share of the distinct questions (rounded), ranked by a hash of (seed, question): the same
    rows and seed give the same split in any process. `held_out` has the rows of each split that names a dataset.
    Raises InvalidRequestError for fractions below 0, a sum of 1 or more, or a named dataset without rows.
    """
    fractions = _fractions(splits)
    parts: dict[str, tuple[DatasetRow, ...]] = {}
    taken: set[str] = set()
    for name in HELD_OUT:
        if isinstance(getattr(splits, name), str):
            given = (held_out or {}).get(name, ())
            parts[name] = tuple(row for row in given if row.question not in taken)
            if not parts[name]:
                raise InvalidRequestError(
                    f"the {name} split names dataset {getattr(splits, name)!r}, of which no question is left: "
                    "name a dataset whose questions are in no other split",
                    param=f"/splits/{name}",
                )
            taken |= {row.question for row in parts[name]}
    questions = _ranked({row.question for row in rows} - taken, seed=seed)
    start = 0
    for name, fraction in fractions.items():
        count = round(fraction * len(questions))
        chosen = set(questions[start : start + count])
        start += count
        taken |= chosen
        parts[name] = tuple(row for row in rows if row.question in chosen)
    train = tuple(row for row in rows if row.question not in taken)
    return SplitRows(train=train, select=parts["select"], gate=parts["gate"], report=parts["report"])


def _fractions(splits: Splits) -> dict[str, float]:
    values = {name: getattr(splits, name) for name in HELD_OUT}
    fractions = {name: float(value) for name, value in values.items() if not isinstance(value, str)}
    for name, fraction in fractions.items():
        if not 0.0 <= fraction < 1.0:
            raise InvalidRequestError(
                f"the {name} split is {fraction}: give a fraction of at least 0 and below 1, or a dataset's id",
                param=f"/splits/{name}",
            )
    total = sum(fractions.values())
    if total >= 1.0:
        raise InvalidRequestError(
            f"the held-out fractions add up to {total:g}: leave something to train on", param="/splits"
        )
    return fractions


def _ranked(questions: set[str], *, seed: int) -> list[str]:
    return sorted(questions, key=lambda question: hashlib.sha256(f"{seed}\0{question}".encode()).digest())
