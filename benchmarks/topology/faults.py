"""Own the killing of one process of a site at a time: whichever it is, SIGKILL, and started again a moment later."""

import os
import random
import signal
import time
from collections.abc import Callable, Sequence

from benchmarks.reliability.plant import LOOK_S, wait_for
from benchmarks.topology.site import Site
from rlt_core.errors import RltError
from rlt_core.schemas.jobs import Job

AWAY_S = (0.0, 1.0)
"""How long what was killed stays dead before it is started again, at least and at most."""
BUSY_S = 30.0
"""Longest time until a job runs that a worker or a trainer can be killed under."""


class Killer:
    """Kills by name of what there is."""

    def __init__(self, site: Site, *, chance: random.Random) -> None:
        self._site = site
        self._chance = chance
        self._kinds: dict[str, Callable[[], None]] = {
            "control": lambda: self._server("control"),
            "teacher": lambda: self._server("teacher"),
            "student": lambda: self._server("student"),
            "worker": self._worker,
            "trainer": self._trainer,
            "broker": self._broker,
            "gateway": self._gateway,
            "database": self._database,
        }

    @property
    def kinds(self) -> Sequence[str]:
        """Everything that can be killed."""
        return list(self._kinds)

    def kill(self, kind: str) -> float:
        """Kill one of a kind, start it again, and wait until all is ready; gives the seconds of that."""
        began_s = time.monotonic()
        self._kinds[kind]()
        self._site.wait_ready()
        return time.monotonic() - began_s

    def _server(self, room: str) -> None:
        replica = self._chance.choice(self._site.of(room))
        self._site.plant.kill(replica.process)
        self._wait()
        self._site.restart(replica)

    def _worker(self) -> None:
        plant = self._site.plant
        ends_s = time.monotonic() + BUSY_S
        while time.monotonic() < ends_s:
            worker = next((one for job in self._running() if (one := plant.worker_of(job)) is not None), None)
            if worker is not None:
                plant.kill(worker)
                self._wait()
                plant.start_worker()
                return
            time.sleep(LOOK_S)
        raise TimeoutError(f"no worker had a job within {BUSY_S:.0f} s")

    def _trainer(self) -> None:
        ends_s = time.monotonic() + BUSY_S
        while time.monotonic() < ends_s:
            for pid in (pid for job in self._running() for pid in self._site.plant.trainers_of(job.id)):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
                return
            time.sleep(LOOK_S)
        raise TimeoutError(f"no trainer ran within {BUSY_S:.0f} s")

    def _broker(self) -> None:
        broker = self._site.plant.broker
        wait_for(lambda: broker.pid is not None, what="the broker answers")
        pid = broker.pid
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        self._wait()
        broker.start()

    def _gateway(self) -> None:
        self._site.gateway.kill()
        self._wait()
        self._site.gateway.start()

    def _database(self) -> None:
        self._site.database.crash()
        self._wait()
        self._site.database.start()

    def _running(self) -> list[Job]:
        try:
            found = self._site.plant.jobs.list(status="running", limit=20).data
        except RltError:  # the database was killed a moment ago
            return []
        return self._chance.sample(found, k=len(found))

    def _wait(self) -> None:
        time.sleep(self._chance.uniform(*AWAY_S))
