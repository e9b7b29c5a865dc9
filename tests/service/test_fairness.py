"""A bulk caller and an interactive one, on an engine that computes as many sequences at a time as are let in."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from rlt_service.engine.fair_queue import Flow
from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from rlt_service.engine.gate import current_flow
from rlt_service.engine.protocol import GenerateRequest, GenerateResult
from tests.support.service import make_app, serving

GOOD = {"question": "What is 17 + 25?", "solution": "42"}
SINGLES = 20
BULK = [
    ("/v1/explain/batch", {"items": [GOOD] * 256}),
    ("/v1/explain/batch", {"items": [GOOD | {"n": 16}] * 16}),
    ("/v1/score/batch", {"items": [GOOD | {"explanations": ["a", "b"]}] * 128}),
]


def p95(seconds: list[float]) -> float:
    return sorted(seconds)[round(0.95 * len(seconds)) - 1]


@pytest.mark.parametrize(("path", "body"), BULK, ids=["256 items", "16 items of 16", "scores"])
async def test_a_batch_of_256_does_not_triple_the_p95_of_single_calls(
    tmp_path: Path, path: str, body: dict[str, Any]
) -> None:
    engine = FakeEngine(FakeOptions(delay_s=0.1, width=8, max_running=8))
    app = make_app(tmp_path, engine=engine)
    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://rlt") as http:
        while (await http.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.01)

        async def single() -> float:
            began_s = time.monotonic()
            assert (await http.post("/v1/explain", json=GOOD)).status_code == 200
            return time.monotonic() - began_s

        alone = [await single() for _ in range(SINGLES)]
        bulk = asyncio.create_task(http.post(path, json=body, timeout=60))
        while (await engine.health()).in_flight < 16:
            await asyncio.sleep(0)
        beside = [await single() for _ in range(SINGLES)]
        assert p95(beside) <= 3 * p95(alone)
        assert not bulk.done()
        bulk.cancel()
        await asyncio.gather(bulk, return_exceptions=True)


class Watched(FakeEngine):
    """Notes the flow of each generation."""

    def __init__(self) -> None:
        super().__init__(FakeOptions(delay_s=0.02))
        self.flows: list[Flow] = []

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        self.flows.append(current_flow())
        return await super().generate(request)


@pytest.mark.parametrize(("names", "flows"), [((), 2), (("job", "job"), 1), (("job", "other"), 2)], ids=str)
async def test_calls_that_name_one_flow_take_the_turns_of_one_call(
    tmp_path: Path, names: tuple[str, ...], flows: int
) -> None:
    engine = Watched()
    async with serving(make_app(tmp_path, engine=engine)) as http:
        engine.flows.clear()
        headers = [{"RLT-Flow": name} for name in names] or [{}, {}]
        answers = await asyncio.gather(*[http.post("/v1/explain", json=GOOD, headers=each) for each in headers])
        assert {answer.status_code for answer in answers} == {200}
        assert len({id(flow) for flow in engine.flows}) == flows
        assert len(engine.flows) == 2
