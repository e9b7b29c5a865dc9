"""Own how soon a moved alias is what every replica answers by: each is asked by itself, past the gateway."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType

from benchmarks.topology.callers import RETRIES, TIMEOUT_S, Answer, asked, explain, score_against_teacher
from benchmarks.topology.site import Site
from rlt_client import Client

REACHES_S = 2.0
"""Longest time from the move of an alias until every replica answers by it."""
EVERY_S = 0.05
ASKS: dict[str, Callable[[Client], str]] = {"teacher": explain, "student": score_against_teacher}
"""How a replica of a room shows which version it holds to be served."""
SETTLED_S = REACHES_S + 1.0


@dataclass(slots=True)
class Watch:
    """Asks each replica again and again, from entering the block to leaving it."""

    site: Site
    answers: dict[str, list[Answer]] = field(default_factory=dict[str, list[Answer]])
    """By replica, in the order in which they were asked."""
    _ended: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list[threading.Thread])

    def __enter__(self) -> "Watch":
        """Begin, and wait until each has answered once."""
        for room, ask in ASKS.items():
            for replica in self.site.of(room):
                seen = self.answers[replica.name] = []
                self._threads.append(threading.Thread(target=self._watch, args=(replica.address, ask, seen)))
        for thread in self._threads:
            thread.start()
        while not all(self.answers.values()):
            time.sleep(EVERY_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """End."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, address: str, ask: Callable[[Client], str], seen: list[Answer]) -> None:
        with Client(address, timeout=TIMEOUT_S, max_retries=RETRIES) as client:
            while not self._ended.is_set():
                seen.append(asked("watch", ask, client))
                self._ended.wait(EVERY_S)


def lags_of(answers: Sequence[Answer], *, moves: Sequence[tuple[float, str]]) -> list[float]:
    """Say for each move how long after it the last call was made that an earlier version answered; 0 for none.

    Calls until the next move count. Raises ValueError where a move was answered by nobody: it was not watched.
    """
    lags: list[float] = []
    for place, (moved_s, version) in enumerate(moves):
        next_s = moves[place + 1][0] if place + 1 < len(moves) else float("inf")
        of_it = [answer for answer in answers if answer.version and moved_s <= answer.asked_s < next_s]
        if not any(answer.version == version for answer in of_it):
            raise ValueError(f"no call after the move to {version} was answered by it")
        lags.append(max((answer.asked_s - moved_s for answer in of_it if answer.version != version), default=0.0))
    return lags


def moves_of(client: Client) -> list[tuple[float, str]]:
    """Give the moves of the served teacher, the oldest first: when, as the database has it, and to what."""
    history = client.aliases.history("teacher", "default").data
    return sorted((change.created_at.timestamp(), change.version) for change in history)
