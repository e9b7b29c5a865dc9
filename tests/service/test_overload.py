"""Far more at once than there is room for: every call gets an answer, and the database's pool holds."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import httpx
import pytest

from benchmarks.reliability.serving_overload import ALLOWED, BATCHES, CALLS, ITEMS, overload
from benchmarks.reliability.slow_service import slow_service

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]


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
