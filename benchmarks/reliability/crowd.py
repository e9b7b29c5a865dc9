"""Own the clients of an overload: hundreds of connections from one process that itself costs little.

httpx goes through all connections of a client at each call: 160 that ask in turn come to some 50 calls a second,
whatever the server does (seen by hand, 2026-11-27). aiohttp keeps idle connections in a queue.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

NO_ANSWER = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: a status, or NO_ANSWER, and the body where it was asked for."""

    status: int
    body: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Asks one server; as many calls may be open as there are callers."""

    session: aiohttp.ClientSession

    async def post(self, path: str, body: Mapping[str, Any], *, read: bool = False) -> Answer:
        """Send one call, and read the answer's body as JSON on request."""
        try:
            async with self.session.post(path, json=body) as response:
                return Answer(status=response.status, body=await response.json() if read else await response.read())
        except (aiohttp.ClientError, TimeoutError):
            return Answer(status=NO_ANSWER)


@asynccontextmanager
async def crowd(address: str, *, timeout_s: float) -> AsyncGenerator[Crowd]:
    """Open it; its connections close with the block."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    async with aiohttp.ClientSession(address, connector=connector, timeout=timeout) as session:
        yield Crowd(session=session)
