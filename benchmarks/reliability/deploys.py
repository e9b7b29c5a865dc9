"""Own deploys among other faults: a worker or the control service is asked to end by SIGTERM, and a new one comes."""

import signal
import subprocess
import threading

from benchmarks.reliability.plant import CANCEL_GRACE_S, Plant
from rlt_core.errors import RltError
from rlt_service.launch.tree import WORKER_END_S

WORKER_ENDS_S = CANCEL_GRACE_S + WORKER_END_S
"""The grace that `rlt up` gives a worker: its trainer's, and some for itself."""
CONTROL_ENDS_S = 35.0
"""Longest time that a control service may take to drain."""
ENDS_WELL = (0, -signal.SIGTERM)
"""Exit codes: the signal's own where it came before the process could handle it; uvicorn gives it after its drain."""


class Deploys:
    """Deploys to one plant, and what was not as it must be with them."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._leaving: list[threading.Thread] = []
        self.wrong: list[str] = []

    def worker(self, worker: subprocess.Popen[bytes]) -> None:
        """Ask a worker to end and start another at once; faults go on while it drains."""
        self._plant.retire(worker)
        self._plant.start_worker()
        seeing_off = threading.Thread(target=self._see_off, args=(worker,), daemon=True)
        self._leaving.append(seeing_off)
        seeing_off.start()

    def control(self) -> None:
        """Ask the control service to end, and start it again on its port when it has."""
        control = self._plant.controls[0]
        self._plant.retire(control)
        self._end(control, "control", most_s=CONTROL_ENDS_S)
        self._plant.start_control()

    def settle(self) -> None:
        """Wait until all that was asked to end has."""
        for leaving in self._leaving:
            leaving.join()

    def _see_off(self, worker: subprocess.Popen[bytes]) -> None:
        """See that a worker which has ended by itself gave back what it ran: no running row may still name it."""
        if not self._end(worker, "worker", most_s=WORKER_ENDS_S):
            return
        try:
            kept = [
                job.id
                for job in self._plant.jobs.list(status="running", limit=1000).data
                if self._plant.worker_pid_of(job) == worker.pid
            ]
        except RltError as error:
            kept = [f"unknown: {error}"]
        if kept:
            self.wrong.append(f"worker {worker.pid} was asked to end and kept {', '.join(kept)}")

    def _end(self, process: subprocess.Popen[bytes], name: str, *, most_s: float) -> bool:
        try:
            code = process.wait(timeout=most_s)
        except subprocess.TimeoutExpired:
            self.wrong.append(f"{name} {process.pid} had not ended {most_s:.0f} s after SIGTERM")
            process.kill()
            process.wait()
            return False
        if code not in ENDS_WELL:
            self.wrong.append(f"{name} {process.pid} ended with {code} after SIGTERM")
        return code in ENDS_WELL
