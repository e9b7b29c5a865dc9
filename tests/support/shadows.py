"""A store of shadow outcomes in memory."""

from collections.abc import Sequence

from rlt_core.errors import StorageUnavailableError
from rlt_service.store.shadows import Outcome


class Kept:
    """Keeps what it is given; full for so many writes."""

    def __init__(self, *, full: int = 0) -> None:
        self.outcomes: list[Outcome] = []
        self._full = full

    def record(self, outcomes: Sequence[Outcome]) -> None:
        if self._full > 0:
            self._full -= 1
            raise StorageUnavailableError("the disk is full")
        self.outcomes += outcomes
