"""A caller that goes away takes its engine requests along."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from tests.support.listening import listening, send
from tests.support.service import asgi_scope, make_app

GOOD = {"question": "?", "solution": "42"}
CALLS = [
    ("/v1/explain", GOOD | {"n": 3}),
    ("/v1/explain", GOOD | {"n": 3, "stream": True}),
    ("/v1/explain/batch", {"items": [GOOD] * 3}),
    ("/v1/score", GOOD | {"explanations": ["a", "b", "c"]}),
    ("/v1/score/batch", {"items": [GOOD | {"explanations": ["a"]}] * 3}),
]
NAMES = ["explain", "stream", "explain batch", "score", "score batch"]
SLOW = FakeOptions(delay_s=60.0)
"""Whatever is asked takes a minute; the pieces of a stream come seconds apart."""


async def until_in_flight(engine: FakeEngine, count: int) -> None:
    async with asyncio.timeout(30):
        while (await engine.health()).in_flight != count:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(("path", "body"), CALLS, ids=NAMES)
async def test_a_caller_that_leaves_cancels_its_work(tmp_path: Path, path: str, body: dict[str, Any]) -> None:
    engine = FakeEngine(SLOW)
    app: Any = make_app(tmp_path, engine=engine)
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    incoming.put_nowait({"type": "http.request", "body": json.dumps(body).encode(), "more_body": False})
    sent: list[dict[str, Any]] = []

    async def take(message: dict[str, Any]) -> None:
        sent.append(message)

    async with app.router.lifespan_context(app):
        services = app.state.services
        async with asyncio.timeout(30):
            while not (await services.host.check()).ok:
                await asyncio.sleep(0.01)
            call = asyncio.create_task(app(asgi_scope(path), incoming.get, take))
            await until_in_flight(engine, 3)
            assert services.in_hand.requests == 3
            incoming.put_nowait({"type": "http.disconnect"})
            await call
        assert (services.in_hand.requests, (await engine.health()).in_flight) == (0, 0)
        assert sent[0]["status"] == 499


@pytest.mark.parametrize(("path", "body"), CALLS, ids=NAMES)
async def test_a_closed_connection_ends_its_engine_requests_within_a_second(
    tmp_path: Path, path: str, body: dict[str, Any]
) -> None:
    engine = FakeEngine(SLOW)
    async with listening(make_app(tmp_path, engine=engine)) as port:
        reader, writer = await send(port, path, json.dumps(body).encode())
        await until_in_flight(engine, 3)
        if "stream" in body:
            await reader.readuntil(b"event: delta")
        began_s = time.monotonic()
        writer.close()
        await until_in_flight(engine, 0)
        assert time.monotonic() - began_s < 1.0
        await writer.wait_closed()


async def test_a_caller_that_leaves_its_stream_leaves_the_others_alone(tmp_path: Path) -> None:
    engine = FakeEngine(SLOW)
    async with listening(make_app(tmp_path, engine=engine)) as port:
        body = json.dumps(GOOD | {"stream": True}).encode()
        (_, leaving), (reader, staying) = [await send(port, "/v1/explain", body) for _ in range(2)]
        await until_in_flight(engine, 2)
        leaving.close()
        await until_in_flight(engine, 1)
        assert await reader.readuntil(b"event: delta")
        staying.close()
        await until_in_flight(engine, 0)
