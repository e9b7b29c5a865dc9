"""A caller that goes away takes its engine requests along."""

import asyncio
from pathlib import Path
from typing import Any

from rlt_service.engine.fake_engine import FakeEngine
from rlt_service.engine.protocol import GenerateRequest, GenerateResult
from tests.support.service import asgi_scope, make_app


class Endless(FakeEngine):
    """Generates until it is cancelled, and says so."""

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        self.began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        raise AssertionError


async def test_a_caller_that_leaves_cancels_its_generation(tmp_path: Path) -> None:
    engine = Endless()
    app: Any = make_app(tmp_path, engine=engine)
    body = b'{"question": "?", "solution": "42", "n": 3}'
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    incoming.put_nowait({"type": "http.request", "body": body, "more_body": False})
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = asgi_scope("/v1/explain")
    async with app.router.lifespan_context(app):
        services = app.state.services
        async with asyncio.timeout(30):
            while not (await services.host.check()).ok:
                await asyncio.sleep(0.01)
            call = asyncio.create_task(app(scope, incoming.get, send))
            await engine.began.wait()
            assert services.in_hand.requests == 3
            incoming.put_nowait({"type": "http.disconnect"})
            await engine.cancelled.wait()
            await call
        assert services.in_hand.requests == 0
        assert sent[0]["status"] == 499
