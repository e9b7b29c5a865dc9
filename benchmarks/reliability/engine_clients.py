"""Own the clients that ask an engine while it is harmed: how the last call of each ended, and when."""

import time
from collections.abc import Generator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from benchmarks.reliability.plant import wait_for

CLIENTS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """How a client's last call ended; 0 where no answer came."""

    status: int
    at_s: float
    """By the monotonic clock."""
    may_ask_again: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """Clients of one server, each of which asks again while its answers are good."""

    address: str
    calls: list["Future[Heard]"]

    def wait_at_work(self, *, others: int = 0) -> None:
        """Wait until as much is in hand as there are clients and `others`; raises where one has been refused."""
        wait_for(lambda: self._are_at_work(others), what=f"{len(self.calls)} calls and {others} are at work")

    def _are_at_work(self, others: int) -> bool:
        if early := [call.result() for call in self.calls if call.done()]:
            raise RuntimeError(f"clients were refused before anything was killed: {early}")
        return in_hand(self.address) >= len(self.calls) + others

    def heard(self) -> list[Heard]:
        """Wait for the end of all, and give what ended each."""
        return [call.result() for call in self.calls]


@contextmanager
def asking(address: str, body: Mapping[str, Any]) -> Generator[Clients]:
    """Start the clients; the block ends when each has been refused or cut off."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        yield Clients(address=address, calls=[pool.submit(_ask_until_refused, address, body) for _ in range(CLIENTS)])


def _ask_until_refused(address: str, body: Mapping[str, Any]) -> Heard:
    """Ask again while the answers are good: the last call is the one that meets the engine's death."""
    with httpx.Client(timeout=120.0) as client:
        while True:
            try:
                answer = client.post(f"{address}/v1/explain", json=body)
            except httpx.HTTPError:
                return Heard(status=0, at_s=time.monotonic(), may_ask_again=False)
            if answer.status_code != 200:
                again = "retry-after" in answer.headers
                return Heard(status=answer.status_code, at_s=time.monotonic(), may_ask_again=again)


def in_hand(address: str) -> float:
    """Count what a server has in hand for its engines."""
    lines = httpx.get(f"{address}/metrics", timeout=10.0).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("rlt_requests_in_hand "))
