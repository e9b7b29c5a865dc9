"""Readiness, the engine's start beside the server, and how much may be in hand."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from rlt_core.errors import ConfigurationError, UnavailableError
from rlt_service.app import base_of, create_app
from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from rlt_service.engine.protocol import GenerateRequest, GenerateResult
from rlt_service.settings import Settings
from tests.support.control import Control, check_problem
from tests.support.service import SilentBell, make_app, running_app, services_of
from tests.support.waiting import wait_until

COMMIT = "0123456789abcdef0123456789abcdef01234567"
GOOD = {"question": "What is 17 + 25?", "solution": "42"}


class NeverReady(FakeEngine):
    """Takes for ever to start."""

    async def start(self) -> None:
        await asyncio.Event().wait()


class Broken(FakeEngine):
    """Does not start."""

    async def start(self) -> None:
        raise ConfigurationError("the model's folder is empty: fill it")


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


class Away(SilentBell):
    """A broker that does not answer."""

    def ring(self, queue: str) -> None:
        raise UnavailableError("the broker is away")


def test_while_the_engine_starts_the_server_answers_and_is_not_ready(tmp_path: Path) -> None:
    with TestClient(make_app(tmp_path, engine=NeverReady())) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, "not_ready")
        assert answer.json()["checks"]["engine"] == {"ok": False, "detail": "the engine is starting"}
        assert answer.json()["checks"]["database"]["ok"]
        for path, body in (("/v1/explain", GOOD), ("/v1/score", GOOD | {"explanations": ["4"]})):
            refused = client.post(path, json=body)
            found = check_problem(refused, 503, "engine_unavailable")
            assert (found["retryable"], int(refused.headers["Retry-After"])) == (True, 10)


def test_bad_input_is_told_even_while_the_engine_starts(tmp_path: Path) -> None:
    with TestClient(make_app(tmp_path, engine=NeverReady())) as client:
        check_problem(client.post("/v1/explain", json=GOOD | {"question": " "}), 422, "invalid_request", "/question")


def test_an_engine_that_does_not_start_is_told_to_whoever_runs_the_server(tmp_path: Path) -> None:
    told: list[Exception] = []
    app = create_app(
        Settings(home=tmp_path, engine="fake"), engine=Broken(), bell=SilentBell(), on_engine_failure=told.append
    )
    with TestClient(app, base_url="http://localhost") as client:
        wait_until(lambda: bool(told), what="the failure is told")
        assert str(told[0]) == "the model's folder is empty: fill it"
        detail = client.get("/readyz").json()["checks"]["engine"]["detail"]
        assert detail == "the engine did not start: the model's folder is empty: fill it"


def test_an_engine_that_died_is_not_ready(tmp_path: Path) -> None:
    engine = FakeEngine()
    with running_app(tmp_path, engine=engine) as client:
        assert client.get("/readyz").json()["status"] == "ready"
        assert client.portal is not None
        client.portal.call(engine.die)
        assert client.get("/readyz").status_code == 503
        check_problem(client.post("/v1/explain", json=GOOD), 503, "engine_unavailable")


def test_without_a_broker_the_server_is_degraded_and_serves(tmp_path: Path) -> None:
    app = create_app(Settings(home=tmp_path, engine="fake", reconcile_s=0.05), bell=Away())
    with TestClient(app, base_url="http://localhost") as client:
        wait_until(lambda: client.get("/readyz").json()["status"] == "ready", what="the app is ready")
        Control(http=client, services=services_of(client)).job()
        wait_until(lambda: client.get("/readyz").json()["status"] == "degraded", what="the broker is missed")
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()["checks"]["broker"]["detail"]) == (200, "the broker is away")
        assert client.post("/v1/explain", json=GOOD).status_code == 200


async def test_an_overloaded_server_answers_429(tmp_path: Path) -> None:
    engine = Held()
    app = make_app(tmp_path, engine=engine, max_queued_requests=2)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://rlt.test") as client,
    ):
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.01)
        first = asyncio.create_task(client.post("/v1/explain", json=GOOD | {"n": 2}))
        await engine.began.wait()
        try:
            async with asyncio.timeout(10.0):  # what is let in would wait for the engine
                refused = await client.post("/v1/explain", json=GOOD)
        finally:
            engine.release.set()
        found = check_problem(refused, 429, "overloaded")
        assert (found["retryable"], refused.headers["Retry-After"]) == (True, "2")
        assert (await first).status_code == 200
        assert (await client.post("/v1/explain", json=GOOD)).status_code == 200


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"engine": "fake"}, ("fake", "fake")),
        ({}, ("smollm2-135m", "builtin:smollm2-135m")),
        ({"base_model": "/models/My Model_7B/"}, ("my-model-7b", "/models/My Model_7B/")),
        ({"base_model": f"hub:Org/Tiny-1.5@{COMMIT}"}, ("tiny-1-5", f"hub:Org/Tiny-1.5@{COMMIT}")),
        ({"base_model": "/models/x", "base_name": "mine"}, ("mine", "/models/x")),
    ],
)
def test_the_base_is_named_after_its_model(settings: dict[str, Any], expected: tuple[str, str]) -> None:
    assert base_of(Settings(**settings)) == expected


def test_a_base_of_a_hub_without_a_commit_is_refused_before_it_has_a_name() -> None:
    with pytest.raises(ConfigurationError, match="names no revision"):
        base_of(Settings(base_model="hub:org/tiny", base_name=None))


def test_a_model_without_a_name_asks_for_one() -> None:
    with pytest.raises(ConfigurationError, match="RLT_BASE_NAME"):
        base_of(Settings(base_model="/"))


def test_an_engine_that_died_is_started_again(tmp_path: Path) -> None:
    engine = FakeEngine()
    with TestClient(make_app(tmp_path, engine=engine)) as client:
        wait_until(lambda: client.post("/explain", json=GOOD).status_code == 200, what="the engine serves")
        assert client.portal is not None
        client.portal.call(engine.die)
        refused = client.post("/explain", json=GOOD)
        check_problem(refused, status=503, code="engine_unavailable")
        assert "Retry-After" in refused.headers
        wait_until(lambda: client.post("/explain", json=GOOD).status_code == 200, what="the engine serves again")
        assert client.get("/readyz").json()["checks"]["engine"]["ok"]


async def test_an_engine_that_hangs_is_noticed_its_requests_end_and_it_is_started_again(tmp_path: Path) -> None:
    engine = FakeEngine(FakeOptions(patience_s=0.3))
    app = make_app(tmp_path, engine=engine)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://rlt.test") as client,
    ):
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.01)
        engine.wedge()
        hanging = await asyncio.wait_for(client.post("/v1/explain", json=GOOD), timeout=10.0)
        check_problem(hanging, 503, "engine_unavailable")
        detail = (await client.get("/readyz")).json()["checks"]["engine"]["detail"]
        assert detail == "the engine is being started again: it does not answer"
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.05)
        assert (await client.post("/v1/explain", json=GOOD)).status_code == 200
