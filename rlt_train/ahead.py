"""Own work for the next step that begins while this one trains: in a thread, awaited where its result is due."""

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from rlt_train.lifeline import StopFlag

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead(Generic[ResultT]):
    """One piece of work that has begun, in a thread that is a daemon: nobody waits for what is not wanted any more."""

    step: int
    """The step whose it is."""
    done: "queue.SimpleQueue[tuple[ResultT] | Exception]" = field(default_factory=queue.SimpleQueue)

    def result(self, *, stop: StopFlag) -> ResultT:
        """Wait for it, once; raises what it raised, or StopRequested."""
        with stop.waiting():
            found = self.done.get()
        if isinstance(found, Exception):
            raise found
        return found[0]


def begin(work: Callable[[], ResultT], *, step: int) -> Ahead[ResultT]:
    """Begin the work of a step."""
    begun: Ahead[ResultT] = Ahead(step=step)

    def run() -> None:
        try:
            begun.done.put((work(),))
        except Exception as error:  # carried to who waits for the result, whose it is
            begun.done.put(error)

    threading.Thread(target=run, name=f"rlt-ahead-{step}", daemon=True).start()
    return begun
