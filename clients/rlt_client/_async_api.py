"""Carry calls out on an asyncio loop: the async driver, step for step as the sync one."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, TypeVar

import httpx

from rlt_client._calls import CAPABILITIES, AskLimits, Call, Content, Listing, Pause, Plan, Spread, Step, Together
from rlt_client._connection import Connection, Timeout, raise_for_status
from rlt_client._errors import APIError
from rlt_client._raw import RawResponse
from rlt_client._traces import Traced
from rlt_client._tries import Tries
from rlt_core.schemas.server import Limits

AnswerT = TypeVar("AnswerT")
ItemT = TypeVar("ItemT")


class AsyncApi:
    """A pool of connections to one server, or several that are one, for the tasks of one loop."""

    def __init__(self, connection: Connection, http: httpx.AsyncClient) -> None:
        self.connection = connection
        self._http = http
        self._limits: Limits | None = None

    @classmethod
    def open(
        cls, connection: Connection, *, transport: httpx.AsyncBaseTransport | None, http: httpx.AsyncClient | None
    ) -> "AsyncApi":
        """Make the pool, unless the caller has one."""
        if http is not None:
            return cls(connection, http)
        with connection.failures(connection.base_url):
            return cls(connection, httpx.AsyncClient(transport=transport, **connection.client_options()))

    def with_options(self, *, timeout: Timeout | None, max_retries: int | None) -> "AsyncApi":
        """Give a driver on the same pool with other options."""
        return AsyncApi(self.connection.with_options(timeout=timeout, max_retries=max_retries), self._http)

    async def send(self, call: Call[AnswerT]) -> AnswerT:
        """Send, again where that helps and does no harm, and read the answer."""
        return call.read(await self._answer(call))

    async def send_raw(self, call: Call[AnswerT]) -> RawResponse[AnswerT]:
        """Send, and give the answer with its HTTP response."""
        return RawResponse(await self._answer(call), read=call.read)

    @contextlib.asynccontextmanager
    async def stream(self, call: Call[Any], *, silence_s: float | None = None) -> AsyncGenerator[httpx.Response]:
        """Send, and give an answer that is read while it comes."""
        with self.connection.tries(call) as tries:
            async with contextlib.AsyncExitStack() as stack:
                response = await self._trying(tries, lambda: self._open(call, tries, silence_s, stack))
                with self.connection.failures(tries.server):
                    yield response

    async def carry_out(self, plan: Plan[AnswerT]) -> AnswerT:
        """Take a plan's steps until it gives its answer."""
        answer: Any = None
        error: APIError | None = None
        with contextlib.closing(plan):
            while True:
                try:
                    step = plan.send(answer) if error is None else plan.throw(error)
                except StopIteration as ended:
                    return ended.value
                answer, error = None, None
                try:
                    answer = await self._take(step)
                except APIError as caught:
                    error = caught

    async def every(self, listing: Listing[ItemT]) -> AsyncIterator[ItemT]:
        """Give the items of every page, which is asked for when it is come to."""
        call: Call[Any] | None = listing.first
        while call is not None:
            page = await self.send(call)
            for item in listing.items(page):
                yield item
            call = listing.following(page)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _answer(self, call: Call[Any]) -> httpx.Response:
        tries = self.connection.tries(call)

        async def once() -> httpx.Response:
            with self.connection.failures(tries.server), self.connection.traced(call) as traced:
                request = self._request(call, tries, traced, self.connection.timeouts)
                response = await self._http.send(request)
                traced.answered(response)
            raise_for_status(response, accept_status=call.accept_status)
            return response

        with tries:
            return await self._trying(tries, once)

    async def _trying(self, tries: Tries, once: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
        while True:
            tries.begin()
            try:
                response = await once()
            except APIError as error:
                pause_s = tries.pause_after(error)
            else:
                tries.answered()
                return response
            if pause_s:
                await asyncio.sleep(pause_s)

    async def _open(
        self, call: Call[Any], tries: Tries, silence_s: float | None, stack: contextlib.AsyncExitStack
    ) -> httpx.Response:
        with self.connection.failures(tries.server):
            async with contextlib.AsyncExitStack() as opened:
                traced = opened.enter_context(self.connection.traced(call, enter=False))
                request = self._request(call, tries, traced, self.connection.within(silence_s))
                response = await self._http.send(request, stream=True)
                opened.push_async_callback(response.aclose)
                traced.answered(response)
                if response.is_error:
                    await response.aread()
                raise_for_status(response)
                stack.push_async_exit(opened.pop_all())
        return response

    def _request(self, call: Call[Any], tries: Tries, traced: Traced, timeouts: httpx.Timeout) -> httpx.Request:
        return self._http.build_request(
            call.method,
            tries.server + call.path,
            json=call.body,
            content=_content(call.content),
            params=call.query() or None,
            headers=traced.headers(tries.headers),
            timeout=timeouts,
        )

    async def _take(self, step: Step) -> Any:
        match step:
            case Pause(seconds=seconds):
                return await asyncio.sleep(seconds)
            case AskLimits():
                self._limits = self._limits or (await self.send(CAPABILITIES)).limits
                return self._limits
            case Spread(path=path, items=items):
                return self.connection.replicas.spread(path, items)
            case Together():
                return await self._together(step)
            case Call():
                return await self.send(step)

    async def _together(self, step: Together) -> list[Any]:
        failed, room = False, asyncio.Semaphore(max(1, step.at_once))

        async def one(call: Call[Any]) -> Any:
            nonlocal failed
            async with room:
                if failed and step.stop:
                    return None
                try:
                    return await self.send(call)
                except APIError as error:
                    failed = True
                    return error

        return list(await asyncio.gather(*(one(call) for call in step.calls)))


def _content(content: Content | None) -> bytes | AsyncIterator[bytes] | None:
    return _pieces(content()) if callable(content) else content


async def _pieces(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    # Pieces may come from a file: they are read beside the loop.
    iterator, end = iter(pieces), object()
    while (piece := await asyncio.to_thread(next, iterator, end)) is not end:
        yield piece  # pyright: ignore[reportReturnType] - `end` ends the loop
