"""Choose among several servers: the same question goes to the same one while it is well and not fuller than others.

Every client reckons for itself, from the names alone, so all agree on a question's server without asking anybody.
Health and load are what this client has seen: which calls failed, and how many of its own are open. No I/O.
"""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from rlt_core.addresses import Address, Room, answering, room_of, text_of
from rlt_core.errors import ConfigurationError

SHARE: Final = 1.25
"""A server holds at most so many times its even share; a question beyond that goes to the next in its own order.

Of few and large calls that would be no more than the share itself, and no question would find its server again: while
none is idle, one call above the share is let in.
"""
FIRST_AWAY_S: Final = 1.0
LONGEST_AWAY_S: Final = 30.0
"""A server that failed is left alone for one second, then for twice as long each time, up to this."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a choice goes by: the question (None: nothing to remember), and how many sequences are asked for."""

    key: str | None = None
    weight: int = 1


@dataclass(slots=True)
class _Replica:
    url: str
    load: int = 0
    """Sequences of this client's open calls."""
    away_until_s: float | None = None
    """Not chosen before then, by the clock; None is well."""
    away_s: float = 0.0
    """How long it was left alone the last time."""
    tried: bool = False
    """One call finds out whether it is back; the others stay away until that has ended."""

    def usable(self, now_s: float) -> bool:
        return self.away_until_s is None or (now_s >= self.away_until_s and not self.tried)


class Replicas:
    """Servers that are named together; safe to share between threads, and never waits."""

    def __init__(
        self,
        addresses: Sequence[Address],
        *,
        own_key: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take who there is. What asks no question goes by `own_key`, drawn for each client: so clients part ways."""
        self.addresses = tuple(addresses)
        self._own_key = own_key or secrets.token_hex(8)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._all = {one.url: _Replica(one.url) for one in self.addresses}
        self._rooms: dict[Room, tuple[_Replica, ...]] = {}

    def __str__(self) -> str:
        """Write the addresses as they are given."""
        return text_of(self.addresses)

    def take(
        self, path: str, asked: Asked | None = None, *, preferred: str | None = None, tried: Collection[str] = ()
    ) -> str:
        """Choose the URL that `path` is sent to, none of `tried`, and count the call as open there.

        `preferred` is taken where it is well. Where nobody is well, whoever is to be tried again first is taken.
        Raises ConfigurationError where nobody is named who answers the path.
        """
        asked = asked or Asked()
        with self._lock:
            now_s = self._monotonic()
            there = [one for one in self._answering(path) if one.url not in tried]
            if not there:
                raise ConfigurationError(
                    f"none of {self} answers {path}: name one that plays {_played(room_of(path))}, "
                    f"as {_played(room_of(path))}=http://host:port"
                )
            well = [one for one in there if one.usable(now_s)]
            if not well:
                chosen = min(there, key=lambda one: one.away_until_s or 0.0)
            else:
                named = [one for one in well if one.url == preferred]
                loads = _loads(well)
                even = (sum(loads.values()) + asked.weight) / len(well)
                limit = SHARE * even if min(loads.values()) == 0 else max(SHARE * even, even + asked.weight)
                chosen = named[0] if named else self._chosen(well, asked, limit=limit, loads=loads)
            chosen.tried = chosen.away_until_s is not None
            chosen.load += asked.weight
            return chosen.url

    def give_back(self, url: str, *, weight: int = 1) -> None:
        """Count a call as ended, however it ended."""
        with self._lock:
            one = self._all[url]
            one.load = max(0, one.load - weight)
            one.tried = False

    def answered(self, url: str) -> None:
        """Note that a server does its work."""
        with self._lock:
            one = self._all[url]
            one.away_until_s, one.away_s, one.tried = None, 0.0, False

    def away(self, url: str, *, for_s: float | None = None) -> None:
        """Note that a server does not, and leave it alone for a while: longer each time, and at least `for_s`."""
        with self._lock:
            one, now_s = self._all[url], self._monotonic()
            if one.away_until_s is None or now_s >= one.away_until_s:  # calls that failed together count once
                one.away_s = min(LONGEST_AWAY_S, max(FIRST_AWAY_S, 2.0 * one.away_s))
            pause_s = max(one.away_s, min(for_s or 0.0, LONGEST_AWAY_S))
            one.away_until_s, one.tried = max(one.away_until_s or 0.0, now_s + pause_s), False

    def others(self, path: str, *, tried: Collection[str]) -> bool:
        """Tell whether somebody is well who answers `path` and is not among `tried`."""
        with self._lock:
            now_s = self._monotonic()
            return any(one.usable(now_s) and one.url not in tried for one in self._answering(path))

    def spread(self, path: str, items: Sequence[Asked]) -> list[str | None]:
        """Deal the items of one batch out, each to its question's server as far as shares allow; counts nothing open.

        None for each where there is nothing to choose.
        """
        with self._lock:
            now_s = self._monotonic()
            there = self._answering(path)
            well = [one for one in there if one.usable(now_s)] or list(there)
            if len(well) < 2:
                return [None] * len(items)
            loads = _loads(well)
            limit = SHARE * (sum(loads.values()) + sum(asked.weight for asked in items)) / len(well)
            dealt: list[str | None] = []
            for asked in items:
                chosen = self._chosen(well, asked, limit=limit, loads=loads)
                loads[chosen.url] += asked.weight
                dealt.append(chosen.url)
            return dealt

    def _answering(self, path: str) -> tuple[_Replica, ...]:
        room = room_of(path)
        if room not in self._rooms:
            self._rooms[room] = tuple(self._all[url] for url in answering(self.addresses, room))
        return self._rooms[room]

    def _chosen(self, well: Sequence[_Replica], asked: Asked, *, limit: float, loads: dict[str, int]) -> _Replica:
        if len(well) == 1:
            return well[0]
        by_url = {one.url: one for one in well}
        order = [by_url[url] for url in ranked(self._own_key if asked.key is None else asked.key, list(by_url))]
        for one in order:
            if loads[one.url] + asked.weight <= limit:
                return one
        # What is larger than any share: to an idle one, its own first.
        return min(order, key=lambda one: loads[one.url])


def ranked(key: str, urls: Sequence[str]) -> list[str]:
    """Order servers for a question by rendezvous hashing: one that goes or comes moves its own questions alone."""
    digest = hashlib.blake2b(key.encode("utf-8", errors="surrogatepass"), digest_size=16).digest()
    return sorted(urls, key=lambda url: hashlib.blake2b(url.encode(), key=digest, digest_size=8).digest())


def _loads(replicas: Sequence[_Replica]) -> dict[str, int]:
    return {one.url: one.load for one in replicas}


def _played(room: Room) -> str:
    return {"prover": "teacher+control", "any": "control"}.get(room, room)
