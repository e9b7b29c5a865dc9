"""A request id is the caller's word for a call: that two calls share one makes them neither one call nor one answer."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rlt_service.engine.fake_engine import FakeEngine
from rlt_service.engine.protocol import GenerateRequest, GenerateResult, SequenceScoreRequest, SequenceScoreResult
from tests.support.service import make_app, serving

CALLS: list[tuple[str, dict[str, Any]]] = [
    ("/v1/explain", {"question": "What is 17 + 25?", "solution": "42", "seed": 1, "n": 2}),
    ("/v1/explain", {"question": "What is 2 + 3?", "solution": "5", "seed": 2}),
    ("/v1/score", {"question": "What is 17 + 25?", "solution": "42", "explanations": ["4", ""]}),
    ("/v1/score", {"question": "What is 2 + 3?", "solution": "5", "explanations": ["Count on: 5."]}),
]
ANSWER = {"/v1/explain": "explanations", "/v1/score": "scores"}


class Gathering(FakeEngine):
    """Once it `gathers`, answers nobody before that many have asked."""

    def __init__(self) -> None:
        super().__init__()
        self.gathers = 0
        self._asked = 0
        self._all_there = asyncio.Event()

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        await self._gather()
        return await super().generate(request)

    async def score(self, requests: Sequence[SequenceScoreRequest]) -> list[SequenceScoreResult]:
        await self._gather()
        return await super().score(requests)

    async def _gather(self) -> None:
        if self.gathers:
            self._asked += 1
            if self._asked == self.gathers:
                self._all_there.set()
            await asyncio.wait_for(self._all_there.wait(), timeout=10.0)


async def test_calls_under_one_request_id_at_once_each_get_their_own_answers(tmp_path: Path) -> None:
    engine = Gathering()
    async with serving(make_app(tmp_path, engine=engine)) as http:
        alone = [(await http.post(path, json=body)).json() for path, body in CALLS]
        engine.gathers = len(CALLS)
        shared = {"X-Request-Id": "trace-1"}
        answers = await asyncio.gather(*[http.post(path, json=body, headers=shared) for path, body in CALLS])
    assert [(answer.status_code, answer.headers["X-Request-Id"]) for answer in answers] == [(200, "trace-1")] * 4
    together = [answer.json() for answer in answers]
    assert [found[ANSWER[path]] for found, (path, _) in zip(together, CALLS, strict=True)] == [
        found[ANSWER[path]] for found, (path, _) in zip(alone, CALLS, strict=True)
    ]
    assert len({found["id"] for found in together}) == len(CALLS)
