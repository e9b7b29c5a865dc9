"""Far more at once than there is room for: every call gets an answer, and the database's pool holds."""

import asyncio
import random
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.reliability.serving_overload import ALLOWED, BATCHES, CALLS, ITEMS, overload
from benchmarks.reliability.slow_service import slow_service

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]

JSON_LINES = {"Content-Type": "application/x-ndjson"}


def test_512_calls_and_a_rollout_of_1024_at_once_lose_nothing(tmp_path: Path) -> None:
    with slow_service(tmp_path / "home", delay_s=0.05, RLT_MAX_QUEUED_REQUESTS="400") as service:
        statuses = asyncio.run(overload(service.address, chance=random.Random(1)))
        assert set(statuses) <= ALLOWED
        assert statuses.total() == CALLS + BATCHES * ITEMS
        assert statuses[200]
        assert service.in_hand() == 0


def test_512_readings_of_the_jobs_at_once_exhaust_no_pool(tmp_path: Path) -> None:
    async def read_all(address: str) -> Counter[int]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=address, timeout=120.0, limits=limits) as client:
            answers = await asyncio.gather(*[client.get("/v1/jobs") for _ in range(CALLS)])
            return Counter(answer.status_code for answer in answers)

    with slow_service(tmp_path / "home", delay_s=0.0) as service:
        assert asyncio.run(read_all(service.address)) == {200: CALLS}


def test_512_submissions_and_a_rollout_of_1024_at_once_exhaust_no_pool_and_lose_no_job(
    tmp_path: Path, database_url: str
) -> None:
    with slow_service(tmp_path / "home", delay_s=0.05, RLT_DATABASE_URL=database_url) as service:
        rows = b'{"question": "1 + 1?", "solution": "2", "reasoning_trace": "One more."}\n' * 4
        answer = httpx.post(f"{service.address}/v1/datasets", content=rows, headers=JSON_LINES, timeout=60.0)
        spec = {"kind": "warmup", "role": "teacher", "dataset": answer.json()["id"], "target_name": "algebra"}
        submitted, served = asyncio.run(submit_all(service.address, spec))
        assert Counter(answer.status_code for answer in submitted) == {202: CALLS}
        assert served == {200: CALLS + BATCHES * ITEMS}
        told = {answer.json()["id"] for answer in submitted}
        assert len(told) == CALLS
        assert stored_jobs(service.address) == told


async def submit_all(address: str, spec: dict[str, Any]) -> tuple[list[httpx.Response], Counter[int]]:
    """Submit many jobs while calls and batches of rollouts come too."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, timeout=120.0, limits=limits) as client:
        submitting = asyncio.gather(*[client.post("/v1/train", json=spec) for _ in range(CALLS)])
        served = await overload(address, chance=random.Random(1))
        return await submitting, served


def stored_jobs(address: str) -> set[str]:
    """List the ids of all jobs."""
    found, params = set[str](), {"limit": "100"}
    with httpx.Client(base_url=address, timeout=60.0) as client:
        while True:
            page = client.get("/v1/jobs", params=params).json()
            found |= {job["id"] for job in page["data"]}
            if not page["has_more"]:
                return found
            params["after"] = page["last_id"]
