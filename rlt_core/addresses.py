"""Own how several servers are named in one text: their addresses, what each plays, and who answers which path."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

Part = Literal["teacher", "student", "control"]
Room = Literal["teacher", "student", "prover", "control", "any"]
"""Who answers a path. `prover`: whoever moves or registers a version, which takes control and an engine."""

PARTS: Final[tuple[Part, ...]] = get_args(Part)

_ROOMS: Final[tuple[tuple[Room, re.Pattern[str]], ...]] = (
    ("teacher", re.compile(r"^/(v1/)?explain(/|$)")),
    ("student", re.compile(r"^/(v1/)?(score|solve)(/|$)")),
    ("student", re.compile(r"^/v1/chat(/|$)")),
    ("prover", re.compile(r"^/(v1/)?train(/|$)")),
    ("prover", re.compile(r"^/v1/(aliases|teachers|students)(/|$)")),
    ("any", re.compile(r"^/(healthz|readyz|v1/(capabilities|formats|models))$")),
)
_PLAYING = re.compile(r"^([A-Za-z+_-]*)=(.*)$")


@dataclass(frozen=True, slots=True)
class Address:
    """One server, as `http://host:port`, and what it plays."""

    url: str
    plays: frozenset[Part] = frozenset(PARTS)

    def __str__(self) -> str:
        """Write it as `addresses_of` reads it."""
        if len(self.plays) == len(PARTS):
            return self.url
        return "+".join(part for part in PARTS if part in self.plays) + f"={self.url}"


_WHO: Final[dict[Room, tuple[Callable[[Address], bool], ...]]] = {
    "teacher": (lambda one: "teacher" in one.plays,),
    "student": (lambda one: "student" in one.plays,),
    "control": (lambda one: "control" in one.plays,),
    "prover": (lambda one: "control" in one.plays and len(one.plays) > 1, lambda one: "control" in one.plays),
    "any": (lambda one: "control" in one.plays, lambda one: True),
}
"""The first of these that somebody meets."""


def addresses_of(named: str | Sequence[str]) -> tuple[Address, ...]:
    """Read addresses, parted by commas or blanks: `http://a:8400` plays all, `teacher+control=http://b:8400` these two.

    One that is named twice plays both. Raises ValueError for a part that there is not. Whether a URL is one shows when
    it is used; `check_addresses` looks before.
    """
    found: dict[str, frozenset[Part]] = {}
    for text in [named] if isinstance(named, str) else named:
        for one in filter(None, re.split(r"[,\s]+", text)):
            playing = _PLAYING.match(one)
            url = (playing[2] if playing else one).rstrip("/")
            plays = _parts(playing[1], of=one) if playing else frozenset(PARTS)
            found[url] = found.get(url, frozenset()) | plays
    return tuple(Address(url, plays) for url, plays in found.items())


def check_addresses(named: str) -> tuple[Address, ...]:
    """Read addresses that together play everything; raises ValueError for what is no URL or leaves a part out."""
    found = addresses_of(named)
    for one in found:
        if not re.fullmatch(r"https?://[^\s/]+(/[^\s]*)?", one.url):
            raise ValueError(f"{one.url!r} is no address: write http://host:port")
    if absent := [part for part in PARTS if not any(part in one.plays for one in found)]:
        raise ValueError(f"nobody in {named!r} plays {' or '.join(absent)}: add {absent[0]}=http://host:port")
    return found


def text_of(addresses: Sequence[Address]) -> str:
    """Write addresses as `addresses_of` reads them."""
    return ",".join(str(one) for one in addresses)


def room_of(path: str) -> Room:
    """Say who answers a path of the API; what is not known is control's."""
    for room, pattern in _ROOMS:
        if pattern.match(path):
            return room
    return "control"


def answering(addresses: Sequence[Address], room: Room) -> tuple[str, ...]:
    """Give the URLs of those that answer for a room; none where nobody plays it."""
    for meets in _WHO[room]:
        if found := tuple(one.url for one in addresses if meets(one)):
            return found
    return ()


def _parts(text: str, *, of: str) -> frozenset[Part]:
    named = text.split("+")
    if unknown := [name for name in named if name not in PARTS]:
        raise ValueError(f"{of!r}: there is no part {unknown[0]!r}, name of {', '.join(PARTS)} those that it plays")
    return frozenset(part for part in PARTS if part in named)
