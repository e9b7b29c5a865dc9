"""Clients that explain without a pause while the alias moves; what each saw, and when."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

import httpx

QUESTION = "Carla has 13 coins. Carla sells 9 coins. How many coins does Carla have now?"
SOLUTION = "The answer is 4."
TEMPERATURE = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One answer: when it was asked for and came (seconds on one clock), its status, stamp and tokens."""

    asked_s: float
    answered_s: float
    status: int
    version: str
    tokens: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """One move of the alias: when it was asked for and acknowledged, and to which version."""

    asked_s: float
    done_s: float
    version: str


class Clients:
    """`count` callers, each with one request in flight all the time."""

    def __init__(self, address: str, *, count: int, max_tokens: int) -> None:
        """Prepare; nothing is sent yet."""
        limits = httpx.Limits(max_connections=count + 4, max_keepalive_connections=count + 4)
        self._http = httpx.AsyncClient(base_url=address, timeout=300.0, limits=limits)
        self._count = count
        self._max_tokens = max_tokens
        self._going = True
        self._answered = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.seen: list[Seen] = []

    def start(self) -> None:
        """Let all begin."""
        self._tasks = [asyncio.create_task(self._client(number)) for number in range(self._count)]

    async def stop(self) -> None:
        """Let each finish its last request."""
        self._going = False
        await asyncio.gather(*self._tasks)
        await self._http.aclose()

    async def first_of(self, version: str, *, after_s: float) -> float:
        """Wait for the first answer of `version` that was asked for after `after_s`; give when it came."""
        looked_at = 0
        while True:
            new, looked_at = self.seen[looked_at:], len(self.seen)
            if any(seen.version == version and seen.asked_s >= after_s for seen in new):
                return min(s.answered_s for s in self.seen if s.version == version and s.asked_s >= after_s)
            self._answered.clear()
            await self._answered.wait()

    async def _client(self, number: int) -> None:
        turn = 0
        while self._going:
            turn += 1
            self.seen.append(await self._explain(seed=1_000_000 * number + turn))
            self._answered.set()

    async def _explain(self, *, seed: int) -> Seen:
        body = {
            "question": QUESTION,
            "solution": SOLUTION,
            "max_tokens": self._max_tokens,
            "temperature": TEMPERATURE,
            "seed": seed,
            "include": ["tokens"],
        }
        asked_s = time.monotonic()
        try:
            response = await self._http.post("/v1/explain", json=body)
        except httpx.HTTPError:
            return Seen(asked_s=asked_s, answered_s=time.monotonic(), status=0, version="")
        answered_s = time.monotonic()
        if response.status_code != 200:
            return Seen(asked_s=asked_s, answered_s=answered_s, status=response.status_code, version="")
        answer = response.json()
        return Seen(
            asked_s=asked_s,
            answered_s=answered_s,
            status=200,
            version=answer["teacher"]["version"],
            tokens=answer["explanations"][0]["tokens"],
        )


async def move(address: str, *, version: str, expected: str) -> Swap:
    """Move the alias `default` without a gate."""
    async with httpx.AsyncClient(base_url=address, timeout=300.0) as http:
        asked_s = time.monotonic()
        body = {"version": version, "expected": expected, "gate": "none"}
        (await http.put("/v1/aliases/teacher/default", json=body)).raise_for_status()
        return Swap(asked_s=asked_s, done_s=time.monotonic(), version=version)


async def roll_back(address: str, *, expected: str) -> Swap:
    """Move the alias back to the version before."""
    async with httpx.AsyncClient(base_url=address, timeout=300.0) as http:
        asked_s = time.monotonic()
        answer = await http.post("/v1/aliases/teacher/default/rollback", json={"expected": expected})
        answer.raise_for_status()
        return Swap(asked_s=asked_s, done_s=time.monotonic(), version=answer.json()["version"])
