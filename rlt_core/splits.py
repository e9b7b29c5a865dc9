"""Own which rows of a dataset are trained on and which are held out: select, gate and report never share a question."""

import hashlib
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rlt_core.errors import InvalidRequestError
from rlt_core.row_files import RowsAt
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.training import Splits

HELD_OUT = ("select", "gate", "report")
"""Order in which fractions are taken; an earlier split also wins a question that two datasets share."""
BEHIND_ALL = 2**64
"""Above every rank."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRows:
    """Rows by use; no question stands in two of them."""

    train: Sequence[DatasetRow]
    select: Sequence[DatasetRow]
    gate: Sequence[DatasetRow]
    report: Sequence[DatasetRow]


def split_rows(
    rows: Sequence[DatasetRow],
    *,
    splits: Splits,
    seed: int,
    held_out: Mapping[str, Sequence[DatasetRow]] | None = None,
) -> SplitRows:
    """Divide rows by question, not by row, so that a repeated question cannot be both trained on and held out.

    A fraction takes that share of the distinct questions (rounded), ranked by a hash of (seed, question): the same
    rows and seed give the same split in any process. `held_out` has the rows of each split that names a dataset. Of
    each row 8 bytes of its question's hash are held, no text.
    Raises InvalidRequestError for fractions below 0, a sum of 1 or more, or a named dataset without rows.
    """
    fractions = _fractions(splits)
    parts: dict[str, Sequence[DatasetRow]] = {}
    taken: set[int] = set()
    for name in HELD_OUT:
        if isinstance(getattr(splits, name), str):
            given = (held_out or {}).get(name, ())
            ranks = _ranks(given, seed=seed)
            parts[name] = RowsAt(given, (number for number, rank in enumerate(ranks) if rank not in taken))
            if not parts[name]:
                raise InvalidRequestError(
                    f"the {name} split names dataset {getattr(splits, name)!r}, of which no question is left: "
                    "name a dataset whose questions are in no other split",
                    param=f"/splits/{name}",
                )
            taken.update(ranks)
    ranks = _ranks(rows, seed=seed)
    bounds = _bounds(ranks, taken=taken, fractions=list(fractions.values()))
    use = [len(fractions) + 1 if rank in taken else bisect_right(bounds, rank) for rank in ranks]
    for place, name in enumerate((*fractions, "train")):
        parts[name] = RowsAt(rows, (number for number, found in enumerate(use) if found == place))
    return SplitRows(train=parts["train"], select=parts["select"], gate=parts["gate"], report=parts["report"])


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


def _ranks(rows: Iterable[DatasetRow], *, seed: int) -> "array[int]":
    """Rank questions by the first 8 bytes of a hash: two questions of one rank would only be held out together."""
    return array("Q", (_rank(row.question, seed=seed) for row in rows))


def _rank(question: str, *, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}\0{question}".encode()).digest()[:8], "big")


def _bounds(ranks: Iterable[int], *, taken: set[int], fractions: Sequence[float]) -> list[int]:
    """Give where each fraction's part of the ranks ends: the first rank behind it."""
    distinct = sorted(set(ranks) - taken)
    bounds: list[int] = []
    end = 0
    for fraction in fractions:
        end += round(fraction * len(distinct))
        bounds.append(distinct[end] if end < len(distinct) else BEHIND_ALL)
    return bounds
