"""Own what makes a run resumable: each thing is done once and noted, a file is whole or not there, time is bounded."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rlt_client import Client
from rlt_core.schemas.jobs import TERMINAL, Job


class OutOfTimeError(RuntimeError):
    """The time of this run is over before its work is; the same command goes on later."""


class Session:
    """One run against a server whose state stays: its notes lie in `work`, its rows in `out`."""

    def __init__(self, client: Client, *, work: Path, out: Path, until_s: float, poll_s: float = 2.0) -> None:
        """Begin nothing new after `until_s` of the monotonic clock."""
        self.client = client
        self.out = out
        self._notes = work / "notes.json"
        self._until_s = until_s
        self._poll_s = poll_s
        self._known: dict[str, str] = json.loads(self._notes.read_text("utf-8")) if self._notes.exists() else {}

    def once(self, key: str, make: Callable[[], str]) -> str:
        """Give what `make` gave the first time."""
        if key not in self._known:
            self.check_time()
            self._known[key] = make()
            write_whole(self._notes, json.dumps(self._known, indent=1) + "\n")
        return self._known[key]

    def knows(self, key: str) -> bool:
        """Tell whether something was done with this state."""
        return key in self._known

    def has(self, name: str) -> bool:
        """Tell whether a file of rows is there."""
        return (self.out / f"{name}.jsonl").exists()

    def rows(self, name: str, make: Callable[[], Iterable[dict[str, Any]]]) -> None:
        """Write a file of rows, unless it is there."""
        path = self.out / f"{name}.jsonl"
        if path.exists():
            return
        self.check_time()
        began_s = time.monotonic()
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in make())
        write_whole(path, text)
        say(f"{path.name}: {text.count(chr(10))} rows in {time.monotonic() - began_s:.0f} s, {self._left()}")

    def upload(self, name: str, rows: Iterable[Mapping[str, Any]]) -> str:
        """Upload a dataset; gives its id."""
        return self.once(f"dataset {name}", lambda: self.client.datasets.create(list(rows), name=name).id)

    def job(self, key: str, spec: dict[str, Any]) -> Job:
        """Submit a job once, and wait for it.

        Raises OutOfTimeError where it has not ended in time, and RuntimeError where it did not succeed.
        """
        idempotency_key = f"experiment-{key}".replace(" ", "-")
        job_id = self.once(f"job {key}", lambda: self.client.train(spec, idempotency_key=idempotency_key).id)
        step = None
        while (job := self.client.jobs.get(job_id)).status not in TERMINAL:
            if job.progress.step != step:
                step = job.progress.step
                say(f"{key}: {job_id} {job.status}, step {step} of {job.progress.total}, {_shown(job)}, {self._left()}")
            self.check_time()
            time.sleep(self._poll_s)
        if job.status != "succeeded":
            raise RuntimeError(f"{key}: {job_id} ended as {job.status}: {job.error and job.error.message}")
        say(f"{key}: {job_id} succeeded after {job.runtime_s:.0f} s")
        return job

    def _left(self) -> str:
        return f"{max(0.0, self._until_s - time.monotonic()) / 60.0:.0f} minutes left of this call"

    def check_time(self) -> None:
        """Raise OutOfTimeError once the time of this run is over."""
        if time.monotonic() > self._until_s:
            raise OutOfTimeError("the time of this run is over; the same command goes on")


def write_whole(path: Path, text: str) -> None:
    """Write a file that is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def say(text: str) -> None:
    """Tell how far the run is."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def _shown(job: Job) -> str:
    metrics = job.progress.metrics
    told = [f"{name} {metrics[name]:.3f}" for name in ("loss", "reward", "r_ss", "r_kl") if name in metrics]
    eta = [] if job.progress.eta_s is None else [f"{job.progress.eta_s:.0f} s left"]
    return ", ".join(told + eta) or "starting"
