"""An app behind a real socket, in the test's own event loop, so that the test can look at the engine behind it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator

import uvicorn
from fastapi import FastAPI


@contextlib.asynccontextmanager
async def listening(app: FastAPI) -> AsyncGenerator[int]:
    """Serve the app on a free port of loopback, give the port when its engine is ready."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="on", log_config=None, timeout_graceful_shutdown=1))
        serving = asyncio.create_task(server.serve(sockets=[taken]))
        try:
            while not server.started:
                assert not serving.done(), "the server did not start"
                await asyncio.sleep(0.01)
            while not (await app.state.services.host.check()).ok:
                await asyncio.sleep(0.01)
            yield int(taken.getsockname()[1])
        finally:
            server.should_exit = True
            await serving


async def send(port: int, path: str, body: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """POST JSON on a connection of its own, and leave the answer to be read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: rlt.test\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    )
    writer.write(head.encode() + b"\r\n" + body)
    await writer.drain()
    return reader, writer
