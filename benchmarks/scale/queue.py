"""Measure the queue: 100,000 jobs that wait, 1,000 simulated workers, and how soon a job that is submitted runs.

The store is the real one; a worker is a thread that claims, beats, tells progress and finishes as a supervisor does,
and trains nothing. Two phases: as fast as a few workers can (jobs/s), then all of them with jobs that take their time,
while urgent jobs are handed in. What bells cost is not in it: workers that find nothing look again after a second.
"""

import multiprocessing
import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from benchmarks.scale.cells import percentile
from benchmarks.scale.databases import KINDS, lent, size_bytes
from rlt_core.schemas.jobs import QUEUE, Progress, WarmupSpec
from rlt_service.store import history
from rlt_service.store.database import Database
from rlt_service.store.jobs import JobStore
from rlt_service.store.new_jobs import new_row
from rlt_service.store.tables import OutboxRow

NAMES = KINDS
QUEUED, WORKERS = 100_000, 1_000
PROCESSES = 8
"""Of simulated workers; each has the connections of one process of ours, its workers take turns at them."""
FAST_WORKERS = 16
FAST_S, STEADY_S = 60.0, 150.0
HOLD_S, BEAT_S = 60.0, 5.0
"""How long a job takes, and between two signs of life (`RLT_HEARTBEAT_S`): 1,000 workers end 17 jobs a second."""
PROBES_PER_S = 2.0
SUBMITTED = 500
"""Handed in one by one, which times it; the rest of the backlog is stored many at once."""
AT_ONCE = 500
IDLE_S = 1.0
END_S = 300.0
"""Longest time until all have done what they were at: each may wait half a minute for a connection, and for a lock."""
SPEC = WarmupSpec(kind="warmup", role="teacher", dataset="ds_none", target_name="scale")
URGENT = SPEC.model_copy(update={"priority": 10})


@dataclass(slots=True)
class Tally:
    """What the workers of one process did."""

    done: int = 0
    claims_s: list[float] = field(default_factory=list[float])
    beats_s: list[float] = field(default_factory=list[float])
    errors: list[str] = field(default_factory=list[str])

    def add(self, other: "Tally") -> None:
        """Take another's in."""
        self.done += other.done
        self.claims_s += other.claims_s
        self.beats_s += other.beats_s
        self.errors += other.errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """How many there are in all, in how many processes, and how long a job of theirs takes."""

    count: int
    processes: int
    hold_s: float


def measure(pending: Sequence[str], *, share: float, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure each kind of database that is asked for."""
    for kind in (kind for kind in KINDS if kind in pending):
        with lent(kind, folder / kind) as url:
            yield kind, _measured(url, share=share)


def _measured(url: str, *, share: float) -> dict[str, Any]:
    queued, workers = max(SUBMITTED, int(QUEUED * share)), max(8, int(WORKERS * share))
    database = Database(url)
    database.start()
    try:
        jobs = JobStore(database)
        empty = size_bytes(url)
        found: dict[str, Any] = {"queued": queued, "workers": workers, "submits_per_s": _fill(database, jobs, queued)}
        full = size_bytes(url)
        few = Workers(count=min(workers, FAST_WORKERS), processes=2, hold_s=0.0)
        fast = _worked(url, few, seconds=FAST_S * share, probing=None).tally
        after = size_bytes(url)
        all_of_them = Workers(count=workers, processes=min(PROCESSES, workers), hold_s=HOLD_S * min(1.0, share * 4))
        steady = _worked(url, all_of_them, seconds=STEADY_S * share, probing=jobs)
        found |= {
            "jobs_per_s": round(fast.done / (FAST_S * share), 1),
            "claim_p50_ms": _ms(fast.claims_s, 0.5),
            "bytes_queued": round((full - empty) / queued),
            "bytes_done": round((after - full) / fast.done) if fast.done else None,
            "hold_s": all_of_them.hold_s,
        }
        return found | _steady_figures(steady, jobs, errors=[*fast.errors, *steady.tally.errors])
    finally:
        database.close()


def _fill(database: Database, jobs: JobStore, count: int) -> float:
    """Store jobs that wait; gives how many a second were handed in one by one."""
    began_s = time.monotonic()
    for _ in range(SUBMITTED):
        jobs.submit(SPEC)
    rate = SUBMITTED / (time.monotonic() - began_s)
    for start in range(SUBMITTED, count, AT_ONCE):
        with database.transaction() as session:
            rows = [new_row(SPEC, queue=QUEUE, owner=None, submitter=None) for _ in range(min(AT_ONCE, count - start))]
            session.add_all(rows)
            session.flush()
            for row in rows:
                session.add(OutboxRow(queue=row.queue, job_id=row.id, due_at=None))
                history.append(session, row, "queued")
    return round(rate, 1)


@dataclass(slots=True, kw_only=True)
class Worked:
    """What came of a phase."""

    tally: Tally
    probes: dict[str, float]
    """When each urgent job was acknowledged, by its id."""


def _worked(url: str, workers: Workers, *, seconds: float, probing: JobStore | None) -> Worked:
    """Let workers of other processes work for so long; with a store, hand in urgent jobs meanwhile."""
    context = multiprocessing.get_context("spawn")
    begin, ended = context.Event(), context.Event()
    told: Queue[Tally | None] = context.Queue()
    share, rest = divmod(workers.count, workers.processes)
    processes = [
        context.Process(target=_work, args=(url, share + (n < rest), workers.hold_s, n, begin, ended, told))
        for n in range(workers.processes)
    ]
    probes: dict[str, float] = {}
    for process in processes:
        process.start()
    try:
        for _ in processes:
            told.get(timeout=END_S)  # each says once that it is ready
        begin.set()
        ends_s = time.monotonic() + seconds
        # Workers have to be at work first, and the last job needs the time to be begun.
        probe_from_s, probe_to_s = ends_s - 0.5 * seconds, ends_s - 0.15 * seconds
        while (now_s := time.monotonic()) < ends_s:
            if probing is not None and probe_from_s <= now_s < probe_to_s:
                probes[probing.submit(URGENT).id] = time.time()
            time.sleep(min(1.0 / PROBES_PER_S, max(0.0, ends_s - time.monotonic())))
    finally:
        ended.set()
    tally = Tally()
    for _ in processes:
        tally.add(told.get(timeout=END_S) or Tally())
    for process in processes:
        process.join()
    return Worked(tally=tally, probes=probes)


def _work(
    url: str, threads: int, hold_s: float, number: int, begin: Event, ended: Event, told: "Queue[Tally | None]"
) -> None:
    """Run the workers of one process, and tell what they did."""
    database = Database(url)
    database.start()
    jobs = JobStore(database)
    tallies = [Tally() for _ in range(threads)]
    working = [
        threading.Thread(target=_work_alone, args=(jobs, tally, hold_s, f"sim:{number}-{n}", ended))
        for n, tally in enumerate(tallies)
    ]
    told.put(None)
    begin.wait()
    for thread in working:
        thread.start()
    for thread in working:
        thread.join()
    database.close()
    whole = Tally()
    for tally in tallies:
        whole.add(tally)
    told.put(whole)


def _work_alone(jobs: JobStore, tally: Tally, hold_s: float, name: str, ended: Event) -> None:
    """Claim and finish until the end; the first job begins at any moment within a job's length, as in a long run."""
    ended.wait(random.uniform(0.0, hold_s))
    while not ended.is_set():
        try:
            began_s = time.monotonic()
            claimed = jobs.claim(queue=QUEUE, worker=name)
            if claimed is None:
                ended.wait(IDLE_S)
                continue
            tally.claims_s.append(time.monotonic() - began_s)
            if _held(jobs, tally, claimed.job.id, claimed.attempt, hold_s=hold_s, ended=ended):
                jobs.save_progress(claimed.job.id, claimed.attempt, Progress(step=1, total=1))
                jobs.finish(claimed.job.id, claimed.attempt, "succeeded")
                tally.done += 1
        except Exception as error:  # the worker's boundary: one that met a fault goes on with another job
            tally.errors.append(f"{type(error).__name__}: {error}"[:200])
            ended.wait(IDLE_S)


def _held(jobs: JobStore, tally: Tally, job: str, attempt: int, *, hold_s: float, ended: Event) -> bool:
    """Beat until the job has taken its time; false where the run ends before."""
    ends_s = time.monotonic() + hold_s
    while (left_s := ends_s - time.monotonic()) > 0:
        if ended.wait(min(BEAT_S, left_s)):
            return False
        began_s = time.monotonic()
        jobs.beat(job, attempt)
        tally.beats_s.append(time.monotonic() - began_s)
    return True


def _steady_figures(steady: Worked, jobs: JobStore, *, errors: Sequence[str]) -> dict[str, Any]:
    started = {job: jobs.get(job).started_at for job in steady.probes}
    waits = [at.timestamp() - steady.probes[job] for job, at in started.items() if at is not None]
    found: dict[str, Any] = {
        "started": len(waits),
        "not_started": len(steady.probes) - len(waits),
        "errors": len(errors),
        "first_errors": list(errors[:3]),
    }
    if waits:
        # A worker may have it before the answer is read: that is a wait of nothing.
        found |= {f"start_p{name}_s": round(max(0.0, percentile(waits, share)), 3) for name, share in _SHARES}
    if steady.tally.beats_s:
        found |= {f"beat_p{name}_ms": _ms(steady.tally.beats_s, share) for name, share in _SHARES}
    return found


_SHARES = (("50", 0.5), ("99", 0.99))


def _ms(values: Sequence[float], share: float) -> float | None:
    return round(1000 * percentile(values, share), 2) if values else None
