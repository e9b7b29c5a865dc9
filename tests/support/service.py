"""The real app in process: its lifespan, the fake engine or one that a test gives it, state in a folder of its own."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.testclient import TestClient

from rlt_core.tokens import SequenceCodec
from rlt_service.app import create_app
from rlt_service.container import Services
from rlt_service.engine.protocol import Engine, Weights
from rlt_service.settings import Settings
from tests.support.schema import lay_schema
from tests.support.waiting import wait_until


class SilentBell:
    """A broker that takes every bell, and in which nobody listens."""

    def ring(self, queue: str) -> None:
        pass

    def sounding(self, queue: str) -> bool:
        return True


def make_app(
    home: Path,
    *,
    engine: Engine | None = None,
    make_engine: Callable[[Weights], Engine] | None = None,
    **settings: Any,
) -> FastAPI:
    """Make the app on the fake engine, or on those that a test gives; nothing has started yet."""
    more: dict[str, Any] = {"allowed_hosts": ("*",), **settings}
    given = Settings(home=home, engine="fake", **more)
    lay_schema(home)
    return create_app(given, engine=engine, make_engine=make_engine, bell=SilentBell())


@contextlib.contextmanager
def running_app(home: Path, *, engine: Engine | None = None, **settings: Any) -> Generator[TestClient]:
    """Start the app, and give a client of it when it is ready; an exception inside is a 500, as for any caller."""
    with TestClient(make_app(home, engine=engine, **settings), raise_server_exceptions=False) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, what="the app is ready")
        yield client


@contextlib.asynccontextmanager
async def serving(app: FastAPI) -> AsyncGenerator[httpx.AsyncClient]:
    """Run an app in the test's own event loop, and give a client of it when it is ready."""
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client,
    ):
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.01)
        yield client


def services_of(client: TestClient) -> Services:
    """Reach behind the routes."""
    app: Any = client.app
    return app.state.services


def codec_of(client: TestClient) -> SequenceCodec:
    """Give the codec of the engine that serves."""
    engine = services_of(client).engine
    assert engine is not None
    return engine.codec


def asgi_scope(path: str, *, headers: Sequence[tuple[bytes, bytes]] = ()) -> dict[str, Any]:
    """Make the scope of a POST of JSON, for tests that hand out its body themselves."""
    return {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), *headers],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8400),
        "client": ("127.0.0.1", 1),
    }
