"""Own how a route runs its work: as one flow before the engine, while the caller is there, until its deadline."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Header
from starlette.requests import Request

from rlt_core.errors import DeadlineExceededError
from rlt_service.container import ServicesDep
from rlt_service.disconnects import while_connected
from rlt_service.engine.fair_queue import Flow
from rlt_service.engine.gate import one_flow
from rlt_service.store.ownership import owner

TIMEOUT_HEADER = "X-Request-Timeout-Ms"
FLOW_HEADER = "RLT-Flow"

UNREAD = 256
"""Items of a stream that may wait for their reader; further ones are not made meanwhile."""
UNREAD_S = 60.0
"""A reader that takes nothing for so long, while so many wait, has its call ended."""

AnswerT = TypeVar("AnswerT")
ItemT = TypeVar("ItemT")


class Call:
    """One HTTP call; its work ends with it, whoever ends it."""

    def __init__(self, request: Request, *, timeout_s: float, flow: Flow | None = None) -> None:
        """`flow` is one that it shares with other calls."""
        self._request = request
        self._timeout_s = timeout_s
        self._flow = flow

    async def answer(self, work: Coroutine[Any, Any, AnswerT]) -> AnswerT:
        """Await `work`; raises DeadlineExceededError when time is up, ClientDisconnect when the caller has gone.

        By then `work` has been cancelled and has ended.
        """
        deadline = asyncio.timeout(self._timeout_s)
        try:
            with one_flow(self._flow):
                async with deadline:
                    return await while_connected(self._request, work)
        except TimeoutError:
            if not deadline.expired():
                raise
            raise DeadlineExceededError(
                f"the answer was not ready within {self._timeout_s:g} s, and the work on it has been ended: ask for "
                f"less, or for more time ({TIMEOUT_HEADER})"
            ) from None

    async def stream(self, items: AsyncGenerator[ItemT]) -> AsyncGenerator[ItemT]:
        """Yield `items` as they are made, some ahead of their reader; raises as `answer` does.

        A reader that stands still ends the call: it holds what others wait for.
        """
        made: asyncio.Queue[ItemT | asyncio.Task[None]] = asyncio.Queue()
        room = asyncio.Semaphore(UNREAD)

        async def make() -> None:
            async with aclosing(items):
                async for item in items:
                    await _room_in(room)
                    made.put_nowait(item)

        # A task of its own: who reads the stream changes when the answer begins, a deadline belongs to one task.
        working = asyncio.create_task(self.answer(make()))
        working.add_done_callback(made.put_nowait)
        try:
            while not isinstance(item := await made.get(), asyncio.Task):
                room.release()
                yield item
            working.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


async def _room_in(room: asyncio.Semaphore) -> None:
    if not room.locked():
        await room.acquire()
        return
    try:
        async with asyncio.timeout(UNREAD_S):
            await room.acquire()
    except TimeoutError:
        raise DeadlineExceededError(
            f"nothing of the stream was read for {UNREAD_S:g} s while {UNREAD} events waited, and the work on it has "
            "been ended: read faster, or ask without `stream`"
        ) from None


async def call_of(
    request: Request,
    services: ServicesDep,
    timeout_ms: Annotated[
        int | None,
        Header(
            alias=TIMEOUT_HEADER,
            ge=1,
            le=2**53,
            description="Milliseconds after which the call is ended with 504; the server's own limit still holds.",
        ),
    ] = None,
    flow: Annotated[
        str | None,
        Header(
            alias=FLOW_HEADER,
            max_length=200,
            description="A name of the caller's: its calls of one name take the turns of one call before the engine.",
        ),
    ] = None,
) -> Call:
    """Make the call of a request; its time is counted from here, its body having been read."""
    longest_s = services.settings.max_request_timeout_s
    return Call(
        request,
        timeout_s=longest_s if timeout_ms is None else min(timeout_ms / 1000, longest_s),
        flow=services.flows.named(flow, owner=owner()) if flow else None,
    )


CallDep = Annotated[Call, Depends(call_of)]
