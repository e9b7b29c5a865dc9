"""GET /metrics on the fake engine: what moves, and that no caller can make a series of its own."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from rlt_service.engine.fake_engine import FakeEngine
from rlt_service.engine.protocol import (
    EngineInfo,
    GenerateRequest,
    GenerateResult,
    SequenceScoreRequest,
    SequenceScoreResult,
)
from tests.support.control import check_problem
from tests.support.service import make_app, running_app
from tests.support.waiting import wait_until

GOOD: dict[str, Any] = {"question": "What is 17 + 25?", "solution": "42"}
SCORE: dict[str, Any] = GOOD | {"explanations": ["4"]}


class Plain(FakeEngine):
    """An engine whose scoring worker did not prove itself."""

    @property
    def info(self) -> EngineInfo:
        return replace(super().info, name="vllm", scoring="plain")


class Cached(FakeEngine):
    """Has the first five tokens of each sequence in a cache, and computed each a second time."""

    async def score(self, requests: Sequence[SequenceScoreRequest]) -> list[SequenceScoreResult]:
        return [replace(result, cached_tokens=5, rescored=True) for result in await super().score(requests)]


class Held(FakeEngine):
    """Generates when it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()
        self.release = asyncio.Event()

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        self.began.set()
        await self.release.wait()
        return await super().generate(request)


def read(text: str) -> dict[str, float]:
    """Read series as `name{label=value,…}`, without those that say when a counter began."""
    return {
        f"{sample.name}{{{','.join(f'{name}={value}' for name, value in sorted(sample.labels.items()))}}}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def scrape(client: TestClient) -> dict[str, float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    return read(answer.text)


def test_calls_are_counted_and_timed_by_route_and_status(tmp_path: Path) -> None:
    with running_app(tmp_path) as client:
        assert client.post("/v1/score", json=SCORE).status_code == 200
        assert client.post("/v1/score", json=SCORE | {"explanations": []}).status_code == 422
        assert client.get("/v1/jobs/job_00000000000000000000").status_code == 404
        found = scrape(client)
    assert found["rlt_http_requests_total{route=/v1/score,status=200}"] == 1
    assert found["rlt_http_requests_total{route=/v1/score,status=422}"] == 1
    assert found["rlt_http_requests_total{route=/v1/jobs/{job_id},status=404}"] == 1
    assert found["rlt_http_request_seconds_count{route=/v1/score}"] == 2
    assert found["rlt_http_request_seconds_sum{route=/v1/score}"] > 0


def test_no_caller_makes_a_series_of_its_own(tmp_path: Path) -> None:
    with running_app(tmp_path) as client:
        client.post("/v1/score", json=SCORE)
        for odd in ("a", "b", "%22%7D", "v1/nothing/1", "v1/score/x"):
            client.get(f"/{odd}")
            client.post(f"/{odd}", json=SCORE | {"student": odd})
            client.get(f"/v1/jobs/{odd}", headers={"X-Request-Id": odd})
            client.request("MADE-UP", "/v1/score")
        families = list(text_string_to_metric_families(client.get("/metrics").text))
    labels = [sample.labels for family in families for sample in family.samples]
    routes = {found["route"] for found in labels if "route" in found}
    assert routes - {"/readyz", "/metrics"} == {"unmatched", "/v1/jobs/{job_id}", "/v1/score"}
    assert {found["status"] for found in labels if "status" in found} <= {"200", "404", "405", "503"}
    expected = {"route", "status", "le", "source", "engine", "base", "queue", "folder", "call", "finish", "role"}
    assert {name for found in labels for name in found} <= expected | {"kind", "state"}


def test_what_nobody_foresaw_is_counted_as_a_500(tmp_path: Path) -> None:
    class Breaking(FakeEngine):
        async def score(self, requests: Sequence[SequenceScoreRequest]) -> list[SequenceScoreResult]:
            raise RuntimeError("a bug")

    with running_app(tmp_path, engine=Breaking()) as client:
        client.post("/v1/score", json=SCORE)
        assert scrape(client)["rlt_http_requests_total{route=/v1/score,status=500}"] == 1


def test_score_tokens_are_counted_by_where_they_came_from(tmp_path: Path) -> None:
    with running_app(tmp_path, engine=Cached()) as client:
        usage = client.post("/v1/score", json=SCORE | {"explanations": ["4", "5"]}).json()["usage"]
        found = scrape(client)
    assert found["rlt_score_tokens_total{source=cached}"] == usage["cached_tokens"] == 10
    assert found["rlt_score_tokens_total{source=computed}"] == usage["prompt_tokens"] - 10
    assert found["rlt_rescored_without_cache_total{}"] == 2


def test_engine_is_told_up_and_its_restarts_are_counted(tmp_path: Path) -> None:
    engine = FakeEngine()
    with running_app(tmp_path, engine=engine) as client:
        found = scrape(client)
        assert (found["rlt_engine_up{base=fake}"], found["rlt_engine_restarts_total{base=fake}"]) == (1, 0)
        assert found["rlt_scoring_worker_ok{base=fake,engine=fake}"] == 1
        assert client.portal is not None
        client.portal.call(engine.die)
        wait_until(lambda: scrape(client)["rlt_engine_up{base=fake}"] == 0, what="the engine is seen dead")
        wait_until(lambda: scrape(client)["rlt_engine_up{base=fake}"] == 1, what="the engine is up again")
        assert scrape(client)["rlt_engine_restarts_total{base=fake}"] == 1


async def test_what_is_in_hand_is_seen_while_it_is(tmp_path: Path) -> None:
    engine = Held()
    app = make_app(tmp_path, engine=engine)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://rlt.test") as client,
    ):
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.01)
        call = asyncio.create_task(client.post("/v1/explain", json=GOOD | {"n": 3}))
        await engine.began.wait()
        assert read((await client.get("/metrics")).text)["rlt_requests_in_hand{}"] == 3
        engine.release.set()
        assert (await call).status_code == 200
        assert read((await client.get("/metrics")).text)["rlt_requests_in_hand{}"] == 0


def test_process_without_an_engine_says_nothing_of_one(tmp_path: Path) -> None:
    with running_app(tmp_path, roles=("control",)) as client:
        found = scrape(client)
    assert "rlt_requests_in_hand{}" in found
    assert not any(series.startswith(("rlt_engine", "rlt_scoring", "rlt_adapters")) for series in found)


def test_engine_whose_worker_failed_its_check_is_seen_and_refuses_other_temperatures(tmp_path: Path) -> None:
    with running_app(tmp_path, engine=Plain()) as client:
        assert scrape(client)["rlt_scoring_worker_ok{base=fake,engine=vllm}"] == 0
        found = check_problem(client.post("/v1/score", json=SCORE), 422, "invalid_request", "/reward/temperature")
        assert "temperature 1 only (got 0.7)" in found["detail"]
        at_one = SCORE | {"reward": {"temperature": 1.0}}
        assert client.post("/v1/score", json=at_one).status_code == 200


def test_plain_engine_refuses_a_teacher_at_the_temperature_of_given_tokens(tmp_path: Path) -> None:
    with running_app(tmp_path, engine=Plain()) as client:
        made = client.post("/v1/explain", json=GOOD | {"include": ["tokens"], "temperature": 0.7}).json()
        entry = {name: made["explanations"][0][name] for name in ("text", "tokens", "well_formed")}
        body = GOOD | {"explanations": [entry], "reward": {"temperature": 1.0}}
        # Given log-probs cost the engine nothing; computing the teacher's at their temperature is what it cannot do.
        assert client.post("/v1/score", json=body).status_code == 200
        refused = client.post("/v1/score", json=body | {"teacher": "default"})
        check_problem(refused, 422, "invalid_request", "/explanations/0/tokens/temperature")
