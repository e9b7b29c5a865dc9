"""Own the embedded broker's place in the tree: started first, started again when it is gone, ended last."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import psutil

from rlt_core.errors import RltError
from rlt_service.jobs.broker import EmbeddedValkey

LOOK_S: Final = 5.0
"""Between two looks; without a broker jobs only wait, nothing is lost."""
SLOW_LOOKS: Final = 3
"""Looks in a row at which a server that lives did not answer, before it counts as hung: a busy machine is no fault."""


class BrokerKeeper:
    """The embedded broker of a state folder."""

    def __init__(self, home: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._broker = EmbeddedValkey(home)
        self._monotonic = monotonic
        self._looked_s = monotonic()
        self._slow = 0
        self.pids: frozenset[int] = frozenset()
        """Its processes, where this launcher started them."""

    @property
    def url(self) -> str:
        """The broker as Celery reads it."""
        return self._broker.url

    def start(self) -> None:
        """Start it, or adopt one that lives."""
        before = _own_children()
        self._broker.start()
        self.pids |= _own_children() - before

    def mend(self, *, say: Callable[[str], None]) -> None:
        """Start it again if it is gone; looks every few seconds."""
        if self._monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = self._monotonic()
        if self._broker.alive():
            self._slow = 0
            return
        self._slow += 1
        if self._broker.listens() and self._slow < SLOW_LOOKS:
            return
        try:
            self.start()
            say("the broker was gone and has been started again; no job is lost by that")
        except RltError as error:
            say(f"the broker is gone and does not start: {error.detail}")

    def stop(self) -> None:
        """End it."""
        self._broker.stop()


def _own_children() -> frozenset[int]:
    return frozenset(child.pid for child in psutil.Process().children())
