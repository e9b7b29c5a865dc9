"""What a control service has acknowledged: killed right after a 202, and one submission sent many times at once."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from benchmarks.reliability.ledger import book_of
from benchmarks.reliability.parts import stub_plant
from benchmarks.reliability.plant import Plant, free_port, wait_for
from benchmarks.reliability.trial import Trial

SERVERS = 3
"""Control services that take turns, so that the next one starts while one is hit."""


def acknowledged_trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Kill the control service as soon as it has answered 202: the job exists, and is finished all the same."""
    row, plant = "acknowledged", stub_plant(folder / "home")
    jobs: list[str] = []
    try:
        plant.start(workers=2)
        ports = [free_port() for _ in range(SERVERS)]
        for port in ports:
            plant.start_control(roles="control", port=port)
        for number in range(count):
            port, server = ports[number % SERVERS], plant.controls[1]
            plant.wait_ready(port=port)
            body = plant.warmup("steps=2").model_dump(mode="json", exclude_unset=True)
            answer = httpx.post(f"http://127.0.0.1:{port}/v1/train", json=body, timeout=30.0)
            plant.kill(server)
            jobs.append(answer.raise_for_status().json()["id"])
            plant.start_control(roles="control", port=port)
        wait_for(lambda: all(map(plant.has_ended, jobs)), what="every acknowledged job has ended", timeout_s=300.0)
        for number, job in enumerate(jobs):
            wrong = book_of(plant, job).faults(save_every=1)
            yield Trial(
                row=row,
                number=number,
                seed=seed,
                fault="SIGKILL of the control service right after its 202",
                passed=not wrong and plant.jobs.get(job).status == "succeeded",
                seconds=0.0,
                detail="; ".join(wrong),
            )
    finally:
        plant.end()


def same_trials(*, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Send one submission `count` times at once with one Idempotency-Key, by several services on one database."""
    row, plant = "same-submission", stub_plant(folder / "home")
    chance = random.Random(seed)
    try:
        plant.start(workers=1)
        second = free_port()
        plant.start_control(roles="control", port=second)
        plant.wait_ready(port=second)
        addresses = [plant.address, f"http://127.0.0.1:{second}"]
        for number in range(3):
            key = f"{seed}-{chance.random()}"
            yield _same(plant, row, number, seed=seed, copies=count, key=key, addresses=addresses)
    finally:
        plant.end()


def _same(plant: Plant, row: str, number: int, *, seed: int, copies: int, key: str, addresses: list[str]) -> Trial:
    body = plant.warmup(f"steps=2 number={number}").model_dump(mode="json", exclude_unset=True)

    def send(which: int) -> httpx.Response:
        """Send it until it is answered; what is still in progress elsewhere is asked for again."""
        while True:
            address = addresses[which % len(addresses)]
            answer = client.post(f"{address}/v1/train", json=body, headers={"Idempotency-Key": key})
            if answer.status_code != 409:
                return answer
            time.sleep(0.05)

    limits = httpx.Limits(max_connections=copies)
    began_s = time.monotonic()
    with httpx.Client(timeout=60.0, limits=limits) as client, ThreadPoolExecutor(copies) as threads:
        answers = list(threads.map(send, range(copies)))
    statuses = Counter(answer.status_code for answer in answers)
    ids = {answer.json().get("id") for answer in answers}
    jobs = [job for job in plant.jobs.list(limit=1000).data if job.name == body["name"]]
    passed = set(statuses) == {202} and len(ids) == len(jobs) == 1
    return Trial(
        row=row,
        number=number,
        seed=seed,
        fault=f"{copies} copies at once over {len(addresses)} services",
        passed=passed,
        seconds=round(time.monotonic() - began_s, 3),
        detail=f"answers {dict(statuses)}, {len(ids)} ids, {len(jobs)} jobs",
        figures={"copies": copies, "jobs": len(jobs)},
    )
