"""Own a rolling window of calls: in threads, always as many as may be open, results as they come, items lazily."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

from rlt_train.lifeline import StopFlag

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


def rolling(
    items: Iterable[ItemT], work: Callable[[ItemT], ResultT], *, at_once: int, stop: StopFlag
) -> Iterator[ResultT]:
    """Do `work` for each item, `at_once` at a time, and give results in the order in which they come.

    An item is taken when there is a thread for it, so that no more than `at_once` are held. The first error is raised
    at once, as is StopRequested; what runs is then left to end by itself, and its result is nobody's. With `at_once` 1
    all is done in the caller's thread.
    """
    if at_once == 1:
        for item in items:
            stop.check()
            yield work(item)
        return
    waiting: queue.SimpleQueue[ItemT | None] = queue.SimpleQueue()
    done: queue.SimpleQueue[ResultT | Exception] = queue.SimpleQueue()

    def take() -> None:
        while (item := waiting.get()) is not None:
            try:
                done.put(work(item))
            except Exception as error:  # carried to the caller, whose it is
                done.put(error)
                return

    source, out, threads = iter(items), 0, 0
    try:
        for item in islice(source, at_once):
            waiting.put(item)
            threading.Thread(target=take, name=f"rlt-call-{threads}", daemon=True).start()
            out, threads = out + 1, threads + 1
        while out:
            with stop.waiting():
                found = done.get()
            if isinstance(found, Exception):
                raise found
            out -= 1
            if (item := next(source, None)) is not None:
                waiting.put(item)
                out += 1
            yield found
    finally:
        for _ in range(threads):
            waiting.put(None)
