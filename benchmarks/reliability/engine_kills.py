"""SIGKILL of an engine's process, and of its server, under 32 clients, while jobs train: all hear of it and go on."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.reliability.engine_clients import Clients, asking, in_hand
from benchmarks.reliability.engine_mark import MARK
from benchmarks.reliability.parts import mixed_plant, stub_plant
from benchmarks.reliability.plant import Plant, Serving, wait_for
from benchmarks.reliability.trainings import Training
from benchmarks.reliability.trial import Trial
from rlt_core.schemas.jobs import RlSpec
from rlt_service.caches import cache_environment

ANSWER_S, UNREADY_S = 5.0, 2.0
GONE_S = 10.0
"""Longest time that a killed server's engine outlives it."""
BACK_S = 600.0
"""vLLM starts in half a minute on two free cores; here no time is promised."""
EACH_SERVER = 2
"""Kills of one server's engine, before that is killed too: the third restart in a row waits 30 s, for no more news."""
BODY: dict[str, Any] = {"question": "What is 17 + 25?", "solution": "42", "temperature": 0.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is asked, and which processes are an engine's."""

    row: str
    body: dict[str, Any]
    is_engine: Callable[[Sequence[str]], bool]
    """By the command line."""
    with_rl: bool = False
    """Whether one of the trainings is the real trainer's, which calls the engine."""


def fake_trials(*, count: int, seed: int, folder: Path, base_model: Path) -> Iterator[Trial]:
    """Kill the process that the fake engine dies with."""
    serving = Serving(module="benchmarks.reliability.engine_server")
    plant = mixed_plant(folder / "home", base_model=base_model, serving=serving, RLT_CHAOS_DELAY_S="2.0")
    course = Course(row="engine-killed", body=BODY, is_engine=lambda words: MARK in words, with_rl=True)
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
    chance, made = random.Random(seed), 0
    try:
        plant.start(workers=1 + course.with_rl)
        trainings = _start_trainings(plant, course)
        for number in range(count):
            if number and number % EACH_SERVER == 0:
                yield _server_trial(plant, course, trainings, number=made, seed=seed)
                made += 1
            yield _trial(plant, course, trainings, chance=chance, number=made, seed=seed)
            made += 1
    finally:
        engine = _engine(plant, course)
        left = plant.end()
    left += psutil.wait_procs(engine, timeout=10.0)[1]
    if left:
        detail = f"left over: {[process.pid for process in left]}"
        yield Trial(row=course.row, number=made, seed=seed, fault="end", passed=False, detail=detail)


def _start_trainings(plant: Plant, course: Course) -> list[Training]:
    """Submit what trains for all of it: a stub that does nothing with the engine, and where wanted the real trainer."""
    stub = plant.submit(plant.warmup("steps=100000 step_s=0.1")).id
    trainings = [Training(name="the stub's job", jobs=plant.jobs, job_id=stub, calls_engine=False)]
    if course.with_rl:
        small = {"questions_per_step": 2, "samples_per_question": 2, "max_tokens": 16, "save_every": 0}
        spec = {"kind": "rl", "dataset": plant.dataset, "target_name": "waits", "steps": 10_000, **small}
        rl = plant.submit(RlSpec.model_validate(spec | {"lora": {"rank": 4, "alpha": 8.0}})).id
        trainings.append(Training(name="the real trainer's job", jobs=plant.jobs, job_id=rl, calls_engine=True))
    return trainings


def _await_work(plant: Plant, trainings: Sequence[Training]) -> None:
    """Wait until the server is ready, and those that call its engine do."""
    wait_for(lambda: _is_ready(plant), what="the server is ready", timeout_s=BACK_S)
    for training in trainings:
        job = training.job_id
        wait_for(lambda job=job: plant.jobs.get(job).progress.step, what=f"{training.name} trains", timeout_s=BACK_S)
        if training.calls_engine:
            wait_for(lambda: in_hand(plant.address), what="its trainer calls the engine")


def _server_trial(plant: Plant, course: Course, trainings: Sequence[Training], *, number: int, seed: int) -> Trial:
    """Kill the server, see that its engine ends with it, start another, and see what trains go on."""
    _await_work(plant, trainings)
    engine, wrong = _engine(plant, course), list[str]()
    with asking(plant.address, course.body) as clients:
        clients.wait_at_work(others=_callers(trainings))
        for training in trainings:
            training.look()
        killed_s = time.monotonic()
        plant.kill(plant.controls[0])
        gone_s = gone_after(engine, since_s=killed_s, wrong=wrong)
        cut_s = cut_off(clients, killed_s=killed_s, wrong=wrong)
    plant.start_control()
    back_s = _seconds_until(lambda: _is_ready(plant), since_s=killed_s, most_s=BACK_S)
    wrong += [text for training in trainings for text in training.faults()]
    return Trial(
        row=course.row,
        number=number,
        seed=seed,
        fault="kill -9 of the server",
        passed=not wrong,
        seconds=round(gone_s, 3),
        detail="; ".join(wrong),
        figures={"cut_s": round(cut_s, 3), "back_s": round(back_s, 3), "processes": len(engine)},
    )


def gone_after(engine: Sequence[psutil.Process], *, since_s: float, wrong: list[str]) -> float:
    """Give how long after its server an engine was gone; one that stays is a fault, and is ended here."""
    try:
        return _seconds_until(lambda: not any(map(_lives, engine)), since_s=since_s, most_s=GONE_S)
    except TimeoutError:
        left = [process for process in engine if _lives(process)]
        wrong.append(f"processes of its engine after {GONE_S:.0f} s: {[process.pid for process in left]}")
        for process in left:
            process.kill()
        return time.monotonic() - since_s


def cut_off(clients: Clients, *, killed_s: float, wrong: list[str]) -> float:
    """Give how long after the kill the last client knew of it; one that got an answer, or waited on, is a fault."""
    heard = clients.heard()
    wrong += [
        f"{one.status} after {one.at_s - killed_s:.1f} s"
        for one in heard
        if one.status or not 0.0 <= one.at_s - killed_s <= ANSWER_S
    ]
    return max(one.at_s for one in heard) - killed_s


def _trial(
    plant: Plant, course: Course, trainings: Sequence[Training], *, chance: random.Random, number: int, seed: int
) -> Trial:
    _await_work(plant, trainings)
    victims = _engine(plant, course)
    victim = chance.choice(victims)
    wrong: list[str] = []
    with asking(plant.address, course.body) as clients:
        clients.wait_at_work(others=_callers(trainings))
        time.sleep(chance.uniform(0.0, 0.3))
        for training in trainings:
            training.look()
        killed_s = time.monotonic()
        victim.kill()
        unready_s = _seconds_until(lambda: not _is_ready(plant), since_s=killed_s, most_s=ANSWER_S)
        longest_s = _told(clients, killed_s=killed_s, wrong=wrong)
    if unready_s > UNREADY_S:
        wrong.append(f"/readyz was false after {unready_s:.1f} s")
    back_s = _seconds_until(lambda: _is_ready(plant), since_s=killed_s, most_s=BACK_S)
    answer = httpx.post(f"{plant.address}/v1/explain", json=course.body | {"max_tokens": 8}, timeout=60.0)
    if answer.status_code != 200:
        wrong.append(f"a call after its return: {answer.status_code}")
    wrong += _orphans(plant, course, before=victims)
    wrong += [text for training in trainings for text in training.faults()]
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


def _callers(trainings: Sequence[Training]) -> int:
    return sum(training.calls_engine for training in trainings)


def _told(clients: Clients, *, killed_s: float, wrong: list[str]) -> float:
    """Give how long after the kill the last client heard of it; add what it should not have heard to `wrong`."""
    heard = clients.heard()
    for one in heard:
        seconds = one.at_s - killed_s
        if one.status != 503 or not one.may_ask_again or not 0.0 <= seconds <= ANSWER_S:
            wrong.append(f"{one.status} after {seconds:.1f} s{'' if one.may_ask_again else ', without Retry-After'}")
    return max(one.at_s for one in heard) - killed_s


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


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
