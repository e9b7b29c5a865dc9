"""Streams whose reader is slow, or stands still: the server holds a bounded part of them, and ends what stands."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.requests import Request

from rlt_core.errors import DeadlineExceededError
from rlt_service.calls import UNREAD, Call
from tests.support.service import asgi_scope

LONG = 4 * UNREAD


class Source:
    """Makes numbers as fast as they are taken, and knows how many, and whether it was closed."""

    def __init__(self) -> None:
        self.made = 0
        self.closed = False

    async def numbers(self) -> AsyncGenerator[int]:
        try:
            for number in range(LONG):
                self.made += 1
                yield number
                await asyncio.sleep(0)
        finally:
            self.closed = True


def call() -> Call:
    async def connected() -> Any:
        await asyncio.Event().wait()

    return Call(Request(asgi_scope("/v1/explain"), connected), timeout_s=60.0)


async def until_still(source: Source) -> None:
    """Wait until nothing more is made."""
    seen = -1
    while seen != source.made:
        seen = source.made
        for _ in range(100):
            await asyncio.sleep(0)


async def test_no_more_is_made_than_waits_for_a_slow_reader_and_all_of_it_arrives() -> None:
    source = Source()
    stream = call().stream(source.numbers())
    read = [await anext(stream)]
    await until_still(source)
    assert source.made <= UNREAD + 2
    read += [number async for number in stream]
    assert read == list(range(LONG))
    assert source.closed


async def test_a_reader_that_stands_still_has_its_call_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlt_service.calls.UNREAD_S", 0.05)
    source = Source()
    stream = call().stream(source.numbers())
    await anext(stream)
    async with asyncio.timeout(10.0):
        while not source.closed:
            await asyncio.sleep(0.01)
    for _ in range(UNREAD):
        await anext(stream)  # what was made by then
    with pytest.raises(DeadlineExceededError, match="nothing of the stream was read"):
        await anext(stream)
