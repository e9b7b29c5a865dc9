"""Own several calls of services at a time: in threads, their results in order; a stop leaves them all alone."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar

from rlt_train.lifeline import StopFlag

ResultT = TypeVar("ResultT")
ItemT = TypeVar("ItemT")


def equal_parts(items: Sequence[ItemT], *, at_most: int) -> list[Sequence[ItemT]]:
    """Cut items into at most so many parts of neighbours, all of one size but for the last."""
    size = max(1, -(-len(items) // at_most))
    return [items[first : first + size] for first in range(0, len(items), size)]


def side_by_side(works: Sequence[Callable[[], ResultT]], *, at_once: int, stop: StopFlag) -> list[ResultT]:
    """Do the works, begun in their order, `at_once` at a time, and give their results in it.

    The first error is raised at once, as is StopRequested; works that have not begun then never do, and what runs is
    left to end by itself: its threads are daemons, so that nobody waits for an answer that is not wanted any more.
    With `at_once` 1 all is done in the caller's thread.
    """
    if at_once == 1 or len(works) == 1:
        return [work() for work in works]
    waiting = deque(enumerate(works))
    done: queue.SimpleQueue[tuple[int, ResultT] | Exception] = queue.SimpleQueue()

    def take() -> None:
        while waiting:
            try:
                number, work = waiting.popleft()
            except IndexError:  # another thread was faster
                return
            try:
                done.put((number, work()))
            except Exception as error:  # carried to the caller, whose it is
                done.put(error)
                return

    try:
        for number in range(min(at_once, len(works))):
            threading.Thread(target=take, name=f"rlt-call-{number}", daemon=True).start()
        results: dict[int, ResultT] = {}
        while len(results) < len(works):
            with stop.waiting():
                found = done.get()
            if isinstance(found, Exception):
                raise found
            results[found[0]] = found[1]
        return [results[number] for number in range(len(works))]
    finally:
        waiting.clear()
