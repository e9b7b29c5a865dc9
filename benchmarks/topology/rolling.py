"""Own the deploy of a site under load: of each room one server after the other, workers, the gateway, the broker."""

import subprocess
import time
from dataclasses import dataclass, field

from benchmarks.reliability.deploys import CONTROL_ENDS_S, ENDS_WELL, WORKER_ENDS_S
from benchmarks.topology.site import REPLICAS, WORKERS, Replica, Site

REMEMBERED_S = 2.5
"""Between a server's return and the next one's end: nginx leaves one that did not answer alone for two seconds
(`fail_timeout` of the configuration), and of two only one may be left alone."""


@dataclass(slots=True)
class Rollout:
    """Every process of a site ends on SIGTERM and is started again, while it is called."""

    site: Site
    wrong: list[str] = field(default_factory=list[str])
    """What did not end in its time, or not well."""
    ended: int = 0

    def run(self) -> None:
        """Carry it out."""
        for number in range(1, REPLICAS + 1):
            # Rooms are deployed on their own; of each, one server at a time.
            self._servers([replica for replica in self.site.replicas if replica.number == number])
            time.sleep(REMEMBERED_S)
        self.site.gateway.reload()
        for _ in range(WORKERS):
            self._worker()
        self.site.plant.broker.stop()
        self.site.plant.broker.start()

    def _servers(self, replicas: list[Replica]) -> None:
        for replica in replicas:
            self.site.plant.retire(replica.process)
        for replica in replicas:
            self._see_off(replica.process, replica.name, most_s=CONTROL_ENDS_S)
            self.site.restart(replica)
        self.site.wait_ready()

    def _worker(self) -> None:
        worker = self.site.plant.workers[0]
        self.site.plant.retire(worker)
        self.site.plant.start_worker()
        self._see_off(worker, "worker", most_s=WORKER_ENDS_S)

    def _see_off(self, process: subprocess.Popen[bytes], name: str, *, most_s: float) -> None:
        self.ended += 1
        try:
            code = process.wait(timeout=most_s)
        except subprocess.TimeoutExpired:
            self.wrong.append(f"{name} had not ended {most_s:.0f} s after SIGTERM")
            process.kill()
            process.wait()
            return
        if code not in ENDS_WELL:
            self.wrong.append(f"{name} ended with {code} after SIGTERM")
