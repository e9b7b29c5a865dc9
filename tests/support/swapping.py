"""Clients that explain all the time while an alias moves; what each saw, and which version it may have seen."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import httpx

ALIAS = "/v1/aliases/teacher/default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One answer, and when it was asked for and came, in seconds on one clock."""

    asked_s: float
    answered_s: float
    status: int
    stamped: str
    body: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def tokens(self) -> list[dict[str, Any]]:
        """Give the ids and log-probs of each explanation."""
        return [made["tokens"] for made in self.body["explanations"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """One move of the alias, and what it points at from then on."""

    asked_s: float
    done_s: float
    version: str


class Load:
    """`clients` callers, each with one request in flight, from entering the block to leaving it."""

    def __init__(self, http: httpx.AsyncClient, *, clients: int, body: dict[str, Any]) -> None:
        self._http = http
        self._clients = clients
        self._body = body
        self._going = True
        self._tasks: list[asyncio.Task[None]] = []
        self.seen: list[Seen] = []

    async def __aenter__(self) -> "Load":
        """Let all begin."""
        self._tasks = [asyncio.create_task(self._call(number)) for number in range(self._clients)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Let each finish its last request."""
        self._going = False
        await asyncio.gather(*self._tasks)

    async def answers(self, count: int) -> None:
        """Wait for so many more answers."""
        wanted = len(self.seen) + count
        while len(self.seen) < wanted:
            await asyncio.sleep(0.005)

    async def _call(self, number: int) -> None:
        turn = 0
        while self._going:
            turn += 1
            asked_s = time.monotonic()
            answer = await self._http.post("/v1/explain", json=self._body | {"seed": 10_000 * number + turn})
            self.seen.append(
                Seen(
                    asked_s=asked_s,
                    answered_s=time.monotonic(),
                    status=answer.status_code,
                    stamped=answer.headers.get("RLT-Teacher-Version", ""),
                    body=answer.json(),
                )
            )


async def swapped(http: httpx.AsyncClient, *, served: str, other: str, back: bool) -> Swap:
    """Move the alias from one version to the other, as a promotion or as a rollback."""
    asked_s = time.monotonic()
    if back:
        answer = await http.post(f"{ALIAS}/rollback", json={"expected": served}, timeout=300.0)
    else:
        answer = await http.put(ALIAS, json={"version": other, "expected": served}, timeout=300.0)
    assert answer.status_code == 200, answer.text
    return Swap(asked_s=asked_s, done_s=time.monotonic(), version=answer.json()["version"])


def check_stamps(seen: Sequence[Seen], swaps: Sequence[Swap]) -> None:
    """Assert that none failed, and that each answer is of a version that was served while its request ran."""
    for one in seen:
        assert one.status == 200, one.body
        assert one.stamped == one.body["teacher"]["version"]
        may = {
            swap.version
            for swap, end_s in zip(swaps, [*(s.done_s for s in swaps[1:]), float("inf")], strict=True)
            if swap.asked_s <= one.answered_s and end_s >= one.asked_s
        }
        assert one.stamped in may, (one.stamped, may)
