"""Own what happens when a caller goes away: its work is cancelled, and with it its engine requests."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

AnswerT = TypeVar("AnswerT")


async def while_connected(request: Request, work: Coroutine[Any, Any, AnswerT]) -> AnswerT:
    """Await `work`; raises ClientDisconnect, after `work` has been cancelled, when the caller goes away first."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _gone(request: Request) -> None:
    """Wait until the caller has closed the connection; its body has been read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
