"""Event streams of a job that are cut again and again, and whose server is killed: each event once, in order."""

import json
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.reliability.cutting_proxy import CuttingProxy
from benchmarks.reliability.ledger import book_of
from benchmarks.reliability.parts import stub_plant
from benchmarks.reliability.plant import Plant, wait_for
from benchmarks.reliability.trial import Trial, left_over
from rlt_client import Client

ROW = "sse"
EACH_JOB = 20
"""Cuts of one job's streams; its server is ended once, after half of them."""
PAUSE_S = 0.05
FOLLOW_S = 120.0
EXIT_JOB = 4

Event = tuple[int, str]
"""Sequence number and type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """A thread that reads a job's events to their end."""

    name: str
    seen: list[Event]
    thread: threading.Thread


def trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Cut `count` streams."""
    chance = random.Random(seed)
    plant = stub_plant(folder / "home")
    made = 0
    try:
        plant.start(workers=1)
        with CuttingProxy(plant.port, chance=chance) as proxy:
            while made < count:
                faults, wrong = _round(plant, proxy, chance=chance, cuts=min(EACH_JOB, count - made))
                # What is wrong with a job counts once: in its last fault.
                for number, fault in enumerate(faults, start=made):
                    told = wrong if number == made + len(faults) - 1 else []
                    yield Trial(row=ROW, number=number, seed=seed, fault=fault, passed=not told, detail="; ".join(told))
                made += len(faults)
    finally:
        left = plant.end()
    yield from left_over(left, row=ROW, number=made, seed=seed)


def _round(plant: Plant, proxy: CuttingProxy, *, chance: random.Random, cuts: int) -> tuple[list[str], list[str]]:
    """Follow one job from its beginning to its end; gives the faults that were brought about, and what was wrong."""
    before = len(proxy.cuts)
    job = plant.submit(plant.warmup("steps=100000 step_s=0.05")).id
    followers = [_following(name, read, proxy.address, job) for name, read in FOLLOWERS.items()]
    watching = _watch(plant.address, job)
    wait_for(lambda: len(proxy.cuts) >= before + cuts / 2, what="half of the cuts are made")
    ending = _end_server(plant, chance)
    wait_for(lambda: len(proxy.cuts) >= before + cuts, what="all cuts are made")
    httpx.post(f"{plant.address}/v1/jobs/{job}/cancel", timeout=30.0).raise_for_status()
    for follower in followers:
        follower.thread.join(FOLLOW_S)
    told, _ = watching.communicate(timeout=FOLLOW_S)
    faults = [*proxy.cuts[before:], ending]
    events = book_of(plant, job).events
    wrong = [
        text
        for follower in followers
        for text in _faults(follower.name, follower.seen, [(event.seq, event.type) for event in events])
    ]
    steps = [int(step) for step in re.findall(r"^\d\d:\d\d:\d\d  step (\d+)/", told, re.MULTILINE)]
    wrong += _faults("rlt jobs watch", steps, [event.data["step"] for event in events if event.type == "progress"])
    if watching.returncode != EXIT_JOB:
        wrong.append(f"rlt jobs watch ended with {watching.returncode}: {told[-300:]}")
    return faults, wrong


def _end_server(plant: Plant, chance: random.Random) -> str:
    server = plant.controls[0]
    if chance.random() < 0.5:
        plant.kill(server)
        fault = "server killed"
    else:
        server.terminate()
        server.wait(timeout=60.0)
        plant.controls.remove(server)
        fault = "server ended by SIGTERM"
    plant.start_control()
    plant.wait_ready()
    return fault


def _following(name: str, read: Callable[[str, str, list[Event]], None], address: str, job_id: str) -> Follower:
    seen: list[Event] = []
    thread = threading.Thread(target=read, args=(address, job_id, seen), daemon=True)
    thread.start()
    return Follower(name=name, seen=seen, thread=thread)


def _read_raw(address: str, job_id: str, seen: list[Event]) -> None:
    """Follow as a browser does: lines, ids, and Last-Event-ID when it comes back."""
    deadline_s, done = time.monotonic() + FOLLOW_S, False
    with httpx.Client(timeout=30.0) as client:
        while not done and time.monotonic() < deadline_s:
            headers = {"Accept": "text/event-stream", "Last-Event-ID": str(seen[-1][0] if seen else 0)}
            try:
                with client.stream("GET", f"{address}/v1/jobs/{job_id}/events", headers=headers) as answer:
                    done = _read_lines(answer.iter_lines(), seen)
            except httpx.HTTPError:
                pass
            time.sleep(0.0 if done else PAUSE_S)


def _read_lines(lines: Iterator[str], seen: list[Event]) -> bool:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
            continue
        if fields.get("event") == "done":
            return True
        if "data" in fields:
            event = json.loads(fields["data"])
            seen.append((int(fields["id"]), event["type"]))
        fields = {}
    return False


def _read_by_sdk(address: str, job_id: str, seen: list[Event]) -> None:
    with Client(address) as client:
        for event in client.jobs.events(job_id, reconnect_pause_s=PAUSE_S):
            seen.append((event.seq, event.type))


FOLLOWERS = {"raw": _read_raw, "SDK": _read_by_sdk}


def _watch(address: str, job_id: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "rlt_client", "--base-url", address, "jobs", "watch", job_id]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def _faults(who: str, seen: Sequence[object], wanted: Sequence[object]) -> list[str]:
    if list(seen) == list(wanted):
        return []
    missing, twice = len(set(wanted) - set(seen)), len(seen) - len(set(seen))
    return [f"{who}: {len(seen)} of {len(wanted)} events, {missing} missing, {twice} twice"]
