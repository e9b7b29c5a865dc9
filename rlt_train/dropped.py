"""Own what becomes of rollouts that fail for good: they are left out and counted, never given a reward of 0."""

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from rlt_core.errors import RltError
from rlt_core.schemas.datasets import DatasetRow
from rlt_train.errors import RolloutMismatchError, RolloutsDroppedError

ItemT = TypeVar("ItemT")
AnswerT = TypeVar("AnswerT")
PartT = TypeVar("PartT")

_CALLER = frozenset({401, 403, 404, 409})
"""The caller, the version or the job is refused: so is every other rollout."""
_AWAY = frozenset({408, 429, 502, 503, 504})
"""The service was away for longer than patience lasts: the job waits for it."""


def costs_a_rollout(error: RltError) -> bool:
    """Tell whether an error that is final says something of what was asked, and not of the service or the caller."""
    return not isinstance(error, RolloutMismatchError) and error.status not in _CALLER | _AWAY


def one_by_one(
    items: Sequence[ItemT], *, ask: Callable[[Sequence[ItemT]], Sequence[AnswerT]]
) -> list[AnswerT | RltError]:
    """Ask for all together and, where that fails for good, for each alone; gives an item's error in its place.

    Raises what is no item's own fault, as `costs_a_rollout` tells.
    """
    if not items:
        return []
    try:
        return list(ask(items))
    except RltError as error:
        if not costs_a_rollout(error):
            raise
        if len(items) == 1:
            return [error]
    return [answer for item in items for answer in one_by_one([item], ask=ask)]


class DroppedRollouts:
    """Counts the rollouts that are left out, and ends the collection where they are too many. Threads may share it."""

    def __init__(self, *, allowed: int, report: Callable[[str], None]) -> None:
        """Take how many rollouts may be left out; with 0, the first failure is raised as it is."""
        self._allowed = allowed
        self._report = report
        self._lock = threading.Lock()
        self._dropped = 0
        self._last: RltError | None = None

    def add(self, error: RltError, *, row: DatasetRow, size: int) -> None:
        """Leave `size` rollouts of a row out; raises RolloutsDroppedError for one more than may be."""
        with self._lock:
            self._dropped += size
            self._last = error
            if not self._allowed:
                raise error
            if self._dropped > self._allowed:
                raise self.too_many(f"at most {self._allowed} may be left out (max_dropped)")
        what, are = ("a rollout", "is") if size == 1 else (f"all {size} rollouts", "are")
        self._report(f"{what} of {row.id} failed for good and {are} left out: {error}")

    def without(self, found: Sequence[PartT] | RltError, *, row: DatasetRow, size: int) -> list[PartT]:
        """Give a row's parts; none, and `size` rollouts left out, where it failed."""
        if isinstance(found, RltError):
            self.add(found, row=row, size=size)
            return []
        return list(found)

    def too_many(self, why: str) -> RolloutsDroppedError:
        """Make the error that ends the job, of the kind of the last failure."""
        error = RolloutsDroppedError(
            f"{self._dropped} rollouts of the step failed for good, and {why}; the last: {self._last}"
        )
        if self._last is not None:
            error.status, error.retryable = self._last.status, self._last.retryable
        return error
