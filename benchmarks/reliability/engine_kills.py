"""SIGKILL of an engine's process under 32 clients, while a job trains: all hear of it, and it comes back by itself."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.reliability.engine_mark import MARK
from benchmarks.reliability.parts import stub_plant
from benchmarks.reliability.plant import Plant, Serving, wait_for
from benchmarks.reliability.trial import Trial
from rlt_core.schemas.jobs import Job
from rlt_service.caches import cache_environment

CLIENTS = 32
ANSWER_S, UNREADY_S = 5.0, 2.0
BACK_S = 600.0
"""vLLM starts in half a minute on two free cores; here no time is promised."""
EACH_SERVER = 2
"""Kills of one server's engine: the third restart in a row waits 30 s, which says nothing more."""
BODY: dict[str, Any] = {"question": "What is 17 + 25?", "solution": "42", "temperature": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is asked, and which processes are an engine's."""

    row: str
    body: dict[str, Any]
    is_engine: Callable[[Sequence[str]], bool]
    """By the command line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """How a client's last call ended; 0 where no answer came."""

    status: int
    at_s: float
    may_ask_again: bool


def fake_trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Kill the process that the fake engine dies with."""
    serving = Serving(module="benchmarks.reliability.engine_server")
    plant = stub_plant(folder / "home", serving=serving, RLT_CHAOS_DELAY_S="2.0")
    course = Course(row="engine-killed", body=BODY, is_engine=lambda words: MARK in words)
    yield from _trials(plant, course, count=count, seed=seed)


def real_trials(*, count: int, seed: int, folder: Path, base_model: Path) -> Iterator[Trial]:
    """Kill vLLM's core or its worker; compiled parts are those of the folder that keeps the model."""
    environment = {"RLT_MAX_LORAS": "1", "RLT_KV_CACHE_GIB": "0.25", **cache_environment(base_model.parents[1])}
    plant = stub_plant(folder / "home", serving=Serving(engine="vllm"), base_model=base_model, **environment)
    course = Course(
        row="engine-killed-real",
        # Several long completions: at nearly any moment every client has some in hand.
        body=BODY | {"temperature": 1.0, "n": 4, "max_tokens": 1500},
        is_engine=lambda words: bool(words) and words[0].startswith("VLLM::"),
    )
    yield from _trials(plant, course, count=count, seed=seed)


def _trials(plant: Plant, course: Course, *, count: int, seed: int) -> Iterator[Trial]:
    chance = random.Random(seed)
    try:
        plant.start(workers=1)
        # A training that goes on for all of it, and does nothing with the engine.
        job = plant.submit(plant.warmup("steps=100000 step_s=0.1"))
        for number in range(count):
            if number and number % EACH_SERVER == 0:
                _replace_server(plant, course)
            wait_for(lambda: _is_ready(plant), what="the server is ready", timeout_s=BACK_S)
            yield _trial(plant, course, job, chance=chance, number=number, seed=seed)
    finally:
        engine = _engine(plant, course)
        left = plant.end()
    left += psutil.wait_procs(engine, timeout=10.0)[1]
    if left:
        detail = f"left over: {[process.pid for process in left]}"
        yield Trial(row=course.row, number=count, seed=seed, fault="end", passed=False, detail=detail)


def _replace_server(plant: Plant, course: Course) -> None:
    """Kill the server, see that its engine ends with it, and start another."""
    engine = _engine(plant, course)
    plant.kill(plant.controls[0])
    wait_for(lambda: not any(map(_lives, engine)), what="the killed server's engine is gone", timeout_s=10.0)
    plant.start_control()


def _trial(plant: Plant, course: Course, job: Job, *, chance: random.Random, number: int, seed: int) -> Trial:
    victims = _engine(plant, course)
    victim = chance.choice(victims)
    step = plant.jobs.get(job.id).progress.step
    wrong: list[str] = []
    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(_ask_until_refused, plant.address, course.body) for _ in range(CLIENTS)]
        wait_for(lambda: _are_at_work(plant, clients), what=f"{CLIENTS} calls are at work")
        time.sleep(chance.uniform(0.0, 0.3))
        killed_s = time.monotonic()
        victim.kill()
        unready_s = _seconds_until(lambda: not _is_ready(plant), since_s=killed_s, most_s=ANSWER_S)
        longest_s = max(_told(client, killed_s=killed_s, wrong=wrong) for client in clients)
    if unready_s > UNREADY_S:
        wrong.append(f"/readyz was false after {unready_s:.1f} s")
    back_s = _seconds_until(lambda: _is_ready(plant), since_s=killed_s, most_s=BACK_S)
    answer = httpx.post(f"{plant.address}/v1/explain", json=course.body | {"max_tokens": 8}, timeout=60.0)
    if answer.status_code != 200:
        wrong.append(f"a call after its return: {answer.status_code}")
    wrong += _orphans(plant, course, before=victims)
    wrong += _training_faults(plant, job, since=step)
    return Trial(
        row=course.row,
        number=number,
        seed=seed,
        fault=f"kill -9 of {_what(victim, victims)}",
        passed=not wrong,
        seconds=round(longest_s, 3),
        detail="; ".join(wrong),
        figures={"unready_s": round(unready_s, 3), "back_s": round(back_s, 3), "processes": len(victims)},
    )


def _are_at_work(plant: Plant, clients: Sequence["Future[Heard]"]) -> bool:
    """Tell whether there is as much in hand as clients; raises where one has been refused already."""
    if early := [client.result() for client in clients if client.done()]:
        raise RuntimeError(f"clients were refused before anything was killed: {early}")
    return _in_hand(plant) >= CLIENTS


def _ask_until_refused(address: str, body: dict[str, Any]) -> Heard:
    """Ask again while the answers are good: the last call is the one that meets the engine's death."""
    with httpx.Client(timeout=120.0) as client:
        while True:
            try:
                answer = client.post(f"{address}/v1/explain", json=body)
            except httpx.HTTPError:
                return Heard(status=0, at_s=time.monotonic(), may_ask_again=False)
            if answer.status_code != 200:
                again = "retry-after" in answer.headers
                return Heard(status=answer.status_code, at_s=time.monotonic(), may_ask_again=again)


def _told(client: "Future[Heard]", *, killed_s: float, wrong: list[str]) -> float:
    """Give how long after the kill a client heard of it; add what it should not have heard to `wrong`."""
    heard = client.result()
    seconds = heard.at_s - killed_s
    if heard.status != 503 or not heard.may_ask_again or not 0.0 <= seconds <= ANSWER_S:
        wrong.append(f"{heard.status} after {seconds:.1f} s{'' if heard.may_ask_again else ', without Retry-After'}")
    return seconds


def _engine(plant: Plant, course: Course) -> list[psutil.Process]:
    """List the server's engine: it is below the server; by a title of its own, vLLM hides its environment."""
    below = psutil.Process(plant.controls[0].pid).children(recursive=True) if plant.controls else []
    return [process for process in below if course.is_engine(_words(process))]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _orphans(plant: Plant, course: Course, *, before: Sequence[psutil.Process]) -> list[str]:
    now = _engine(plant, course)
    faults = [f"process {process.pid} of the dead engine lives" for process in before if _lives(process)]
    return faults if len(now) == len(before) else [*faults, f"{len(now)} engine processes, {len(before)} before"]


def _training_faults(plant: Plant, job: Job, *, since: int) -> list[str]:
    try:
        wait_for(lambda: plant.jobs.get(job.id).progress.step > since, what="the training goes on", timeout_s=30.0)
    except TimeoutError as error:
        return [str(error)]
    now = plant.jobs.get(job.id)
    return [] if (now.status, now.attempt) == ("running", 1) else [f"the job is {now.status}, attempt {now.attempt}"]


def _what(victim: psutil.Process, victims: Sequence[psutil.Process]) -> str:
    if len(victims) == 1:
        return "the engine's process"
    return "the engine's core" if victim == min(victims, key=lambda process: process.create_time()) else "its worker"


def _seconds_until(found: Callable[[], bool], *, since_s: float, most_s: float) -> float:
    wait_for(found, what="it is so", timeout_s=most_s)
    return time.monotonic() - since_s


def _is_ready(plant: Plant) -> bool:
    try:
        return httpx.get(f"{plant.address}/readyz", timeout=5.0).status_code == 200
    except httpx.HTTPError:
        return False


def _in_hand(plant: Plant) -> float:
    lines = httpx.get(f"{plant.address}/metrics", timeout=10.0).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("rlt_requests_in_hand "))


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
