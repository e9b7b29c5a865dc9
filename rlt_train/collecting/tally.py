"""Own the sums of a collect: what became of questions and explanations, what it cost, how fast it is."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from rlt_core.collected import ShardHead
from rlt_core.schemas.collect import MAX_LISTED, SkippedRow
from rlt_core.schemas.trainer import ProgressEvent
from rlt_train.collecting.keeping import COUNTS

TELL_EVERY_S = 1.0
"""Between two events of progress."""


@dataclass(slots=True)
class Tally:
    """Everything of the shards that are whole, and the speed of this attempt."""

    total: int
    """Questions of the dataset."""
    clock: Callable[[], float] = time.monotonic
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    sums: dict[str, float] = field(default_factory=dict[str, float])
    cost: dict[str, float] = field(default_factory=dict[str, float])
    skipped: list[SkippedRow] = field(default_factory=list[SkippedRow])
    columns: list[str] = field(default_factory=list[str])
    done: int = 0
    """Questions that need nothing more, also those of shards that are open."""
    _began_s: float = 0.0
    _begun_at: int = 0
    _told_s: float = 0.0
    _told: int = -1

    def add(self, head: ShardHead) -> None:
        """Count a whole shard."""
        _add(self.counts, head.counts)
        _add(self.sums, head.sums)
        _add(self.cost, head.cost)
        self.skipped += head.skipped[: MAX_LISTED - len(self.skipped)]
        self.columns += [name for name in head.columns if name not in self.columns]

    def begin(self) -> None:
        """Start the clock of this attempt: what was done before says nothing of its speed."""
        self._began_s, self._begun_at = self.clock(), self.done

    def progress(self, *, last: bool = False) -> ProgressEvent | None:
        """Give how far it is, at most once a second, and at the end once more."""
        now_s = self.clock()
        if self.done == self._told or (not last and now_s - self._told_s < TELL_EVERY_S):
            return None
        self._told_s, self._told = now_s, self.done
        took_s, fresh = now_s - self._began_s, self.done - self._begun_at
        speed = fresh / took_s if took_s > 0.0 else 0.0
        return ProgressEvent(
            step=self.done,
            total=self.total,
            eta_s=(self.total - self.done) / speed if speed > 0.0 else None,
            metrics={"questions_per_s": speed, "rows": float(self.counts["rows"])} | self._means(),
        )

    def _means(self) -> dict[str, float]:
        explanations = self.counts["explanations"]
        if not explanations:
            return {}
        shares = {f"{name}_share": self.counts[name] / explanations for name in ("verbatim", "unclosed")}
        return {name: value / explanations for name, value in self.sums.items()} | shares

    def said(self) -> str:
        """Put the counts into a sentence."""
        shown = [f"{count} {name.replace('_', ' ')}" for name, count in self.counts.items() if count]
        return ", ".join(shown)


def _add(to: dict[str, float] | dict[str, int], more: Mapping[str, float]) -> None:
    sums: dict[str, float] = to  # pyright: ignore[reportAssignmentType] - sums of whole numbers are whole
    for name, value in more.items():
        sums[name] = sums.get(name, 0) + value


def summed_cost(spent: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Add up what questions cost."""
    total: dict[str, float] = {}
    for each in spent:
        _add(total, each)
    return total
