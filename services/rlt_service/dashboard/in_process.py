"""Own calls of the app by itself: an httpx transport without a socket, whose answers can be read while they come."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import httpx
from starlette.types import ASGIApp, Message, Scope

CALLER: Final = ("127.0.0.1", 0)
LEAVE_S: Final = 1.0
"""How long an app may take to see that its caller has gone, before it is cancelled."""


class InProcess(httpx.AsyncBaseTransport):
    """Hands requests to an ASGI app; httpx's own one gives an answer only when it is whole."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request, and come back when its answer begins; raises httpx.ReadError where none comes."""
        if not isinstance(request.stream, httpx.AsyncByteStream):
            raise TypeError("the body of a request must be one that can be read without blocking")
        call = _Call(request.stream)
        task = asyncio.create_task(call.run(self._app, _scope_of(request)))
        try:
            status, headers = await call.begun
        except BaseException:
            await call.leave(task)
            raise
        return httpx.Response(status, headers=headers, stream=_Answer(call, task))


class _Call:
    """One request on its way."""

    def __init__(self, body: httpx.AsyncByteStream) -> None:
        self.begun: asyncio.Future[tuple[int, list[tuple[bytes, bytes]]]] = asyncio.get_running_loop().create_future()
        self.chunks: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=64)
        self._body = aiter(body)
        self._sent = False
        self._left = asyncio.Event()

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self._receive, self._send)
        except Exception as error:  # the boundary of the call: the caller hears of it
            if not self.begun.done():
                self.begun.set_exception(httpx.ReadError(f"the app broke: {error!r}"))
        finally:
            if not self.begun.done():
                self.begun.set_exception(httpx.ReadError("the app gave no answer"))
            if not self._left.is_set():
                await self.chunks.put(None)

    async def leave(self, task: asyncio.Task[None]) -> None:
        """Let the app see that nobody reads any more; what does not end by that is cancelled."""
        self._left.set()
        while not self.chunks.empty():
            self.chunks.get_nowait()
        await asyncio.wait({task}, timeout=LEAVE_S)
        if not task.done():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _receive(self) -> Message:
        if not self._sent:
            try:
                return {"type": "http.request", "body": await anext(self._body), "more_body": True}
            except StopAsyncIteration:
                self._sent = True
                return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and not self.begun.done():
            self.begun.set_result((message["status"], list(message.get("headers", []))))
        elif message["type"] == "http.response.body" and message.get("body") and not self._left.is_set():
            await self.chunks.put(message["body"])


class _Answer(httpx.AsyncByteStream):
    def __init__(self, call: _Call, task: asyncio.Task[None]) -> None:
        self._call = call
        self._task = task

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (chunk := await self._call.chunks.get()) is not None:
            yield chunk

    async def aclose(self) -> None:
        await self._call.leave(self._task)


def _scope_of(request: httpx.Request) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.url.scheme,
        "path": request.url.path,
        "raw_path": request.url.raw_path.partition(b"?")[0],
        "query_string": request.url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "server": (request.url.host, request.url.port or 80),
        "client": CALLER,
        "state": {},
    }
