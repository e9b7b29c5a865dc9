"""Measure event streams: so many listeners to one running job, all of one asyncio process, and how late each event is.

A trainer's events are written to the store twice a second; late is the time from that until a listener has read it.
"""

import asyncio
import json
import resource
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.scale.cells import percentile
from benchmarks.scale.databases import best_kind, lent
from benchmarks.scale.servers import Servers, running
from rlt_core.schemas.jobs import QUEUE, Progress, WarmupSpec
from rlt_service.store.database import Database
from rlt_service.store.jobs import JobStore

COUNTS = (100, 500, 2_000)
NAMES = tuple(str(count) for count in COUNTS)
SPARE_FILES = 256
"""Beside its connections a process has files, pipes and libraries open."""
WINDOW_S, EVERY_S, OPEN_S = 60.0, 0.5, 60.0
AT_ONCE = 50
"""Streams that are being opened at the same time."""
SPEC = WarmupSpec(kind="warmup", role="teacher", dataset="ds_none", target_name="scale")


class TooFewFilesError(RuntimeError):
    """The system lets a process open fewer files than the listeners need; says what to do."""


@dataclass(slots=True)
class Heard:
    """What all listeners heard."""

    opened: int = 0
    events: int = 0
    late_s: list[float] = field(default_factory=list[float])
    broken: list[str] = field(default_factory=list[str])


def measure(pending: Sequence[str], *, share: float, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measure each number of listeners that is asked for; raises TooFewFilesError before anything starts."""
    counts = [count for count in COUNTS if str(count) in pending]
    make_room(max(counts, default=0))
    kind = best_kind()
    with lent(kind, folder / "database") as url, running(folder / "home", count=1, database_url=url) as servers:
        database = Database(url)
        database.start()
        try:
            for count in counts:
                yield str(count), _measured(servers, JobStore(database), count=count, share=share) | {"database": kind}
        finally:
            database.close()


def make_room(listeners: int) -> None:
    """Let this process, and the servers that it starts, open as many files as the listeners need."""
    wanted = listeners + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    if soft == endless or soft >= wanted:
        return
    if hard != endless and hard < wanted:
        raise TooFewFilesError(
            f"{listeners:,} listeners need {wanted:,} open files in one process, and the system allows {hard:,}: raise "
            f"the hard limit (`ulimit -Hn {wanted}` as root, `nofile` in /etc/security/limits.conf), or measure fewer"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _measured(servers: Servers, jobs: JobStore, *, count: int, share: float) -> dict[str, Any]:
    job = jobs.submit(SPEC).id
    claimed = jobs.claim(queue=QUEUE, worker="sim")
    if claimed is None or claimed.job.id != job:
        raise RuntimeError(f"{job} was submitted, {claimed} was claimed: the queue should have been empty")
    heard, ended = Heard(), threading.Event()
    telling = threading.Thread(target=_tell, args=(jobs, job, claimed.attempt, ended))
    empty = servers.memory_bytes()
    try:
        found = asyncio.run(
            _listened(servers, job, count=count, seconds=WINDOW_S * share, heard=heard, telling=telling)
        )
    finally:
        ended.set()
        if telling.ident is not None:
            telling.join()
        jobs.finish(job, claimed.attempt, "succeeded")
    if heard.opened:
        found["kib_a_listener"] = round((found.pop("memory_bytes") - empty) / heard.opened / 1024, 1)
    if heard.late_s:
        found |= {f"late_p{name}_s": round(percentile(heard.late_s, part), 3) for name, part in _SHARES}
    return {
        "listeners": count,
        "opened": heard.opened,
        "events": heard.events,
        "broken": len(heard.broken),
        "first_broken": heard.broken[:3],
    } | found


_SHARES = (("50", 0.5), ("99", 0.99))


def _tell(jobs: JobStore, job: str, attempt: int, ended: threading.Event) -> None:
    step = 0
    while not ended.wait(EVERY_S):
        step += 1
        jobs.save_progress(job, attempt, Progress(step=step))
        jobs.beat(job, attempt)


async def _listened(
    servers: Servers, job: str, *, count: int, seconds: float, heard: Heard, telling: threading.Thread
) -> dict[str, Any]:
    """Open all streams, then let events come for so long."""
    door = asyncio.Semaphore(AT_ONCE)
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=OPEN_S)
    async with aiohttp.ClientSession(servers.addresses[0], connector=connector, timeout=timeout) as session:
        began_s = time.monotonic()
        listening = [asyncio.create_task(_listen(session, job, heard=heard, door=door)) for _ in range(count)]
        while heard.opened + len(heard.broken) < count and time.monotonic() - began_s < OPEN_S:
            await asyncio.sleep(0.1)
        open_s, cpu_s, begins_s = time.monotonic() - began_s, servers.cpu_s(), time.monotonic()
        telling.start()
        await asyncio.sleep(seconds)
        cpu_s, window_s = servers.cpu_s() - cpu_s, time.monotonic() - begins_s
        memory = servers.memory_bytes()
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)
    return {"open_s": round(open_s, 2), "server_cores": round(cpu_s / window_s, 2), "memory_bytes": memory}


async def _listen(session: aiohttp.ClientSession, job: str, *, heard: Heard, door: asyncio.Semaphore) -> None:
    """Follow a job's events from now on."""
    try:
        await door.acquire()
        try:
            headers = {"Accept": "text/event-stream"}
            response = await session.get(f"/v1/jobs/{job}/events", headers=headers)
        finally:
            door.release()
        async with response:
            response.raise_for_status()
            heard.opened += 1
            async for line in response.content:
                if line.startswith(b"data:"):
                    event = json.loads(line[5:])
                    if event.get("type") == "progress":
                        heard.events += 1
                        heard.late_s.append(time.time() - datetime.fromisoformat(event["created_at"]).timestamp())
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        heard.broken.append(f"{type(error).__name__}: {error}"[:200])
