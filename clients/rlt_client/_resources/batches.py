"""Answer many requests: dealt out to servers, cut to what they take, sent side by side, given back in order."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, zip_longest
from typing import Any, Final, TypeVar, cast

from pydantic import BaseModel

from rlt_client import _problems
from rlt_client._calls import AskLimits, Call, Plan, Spread, Together, reader
from rlt_client._errors import APIError, APIStatusError
from rlt_client._resources.bodies import body_of
from rlt_client._tries import asked_of
from rlt_core.replicas import Asked
from rlt_core.schemas.server import BatchItemError, Limits

AnswerT = TypeVar("AnswerT", bound=BaseModel)

AT_ONCE: Final = 4
"""Calls of one batch that are open together, of each server.

An engine batches what is in them; more calls only fill its queue.
"""
BODY_SHARE: Final = 0.95
"""Of the largest body that the server takes."""
JSON: Final = {"Content-Type": "application/json"}

Request = BaseModel | Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Items of one call, encoded, the place of each in the whole, and the server that they were dealt out to."""

    places: list[int]
    items: list[bytes]
    server: str | None = None


def cut(
    items: Sequence[bytes], *, most_items: int, most_bytes: int, servers: Sequence[str | None] | None = None
) -> list[Part]:
    """Cut into parts of one server each, within both bounds; servers take turns.

    An item that is larger by itself goes alone, for the server to refuse.
    """
    of_servers: dict[str | None, list[Part]] = {}
    size = 0
    by_server = _places_by_server(servers or [None] * len(items))
    for server, places in by_server.items():
        parts = of_servers.setdefault(server, [])
        for place in places:
            item = items[place]
            if not parts or len(parts[-1].items) == most_items or size + len(item) + 1 > most_bytes:
                parts.append(Part(places=[], items=[], server=server))
                size = 0
            parts[-1].places.append(place)
            parts[-1].items.append(item)
            size += len(item) + 1
    return [part for part in chain.from_iterable(zip_longest(*of_servers.values())) if part is not None]


def _places_by_server(servers: Sequence[str | None]) -> dict[str | None, list[int]]:
    found: dict[str | None, list[int]] = {}
    for place, server in enumerate(servers):
        found.setdefault(server, []).append(place)
    return found


def settled(
    path: str, *, into: type[BaseModel], requests: Sequence[Request], at_once: int, stop: bool = False
) -> Plan[list[Any]]:
    """Give an answer or an APIError for each request, in order; None for what was not begun, with `stop`.

    `at_once` calls are open together, of each server.
    """
    bodies = [body_of(request) for request in requests]
    items = [json.dumps(body, ensure_ascii=False, allow_nan=True).encode() for body in bodies]
    asked = [asked_of(body) for body in bodies]
    if not items:
        return []
    parts = [Part(places=[0], items=items)]
    if len(items) > 1:
        limits: Limits = yield AskLimits()
        servers: list[str | None] = yield Spread(path=path, items=asked)
        most_bytes = int(limits.max_body_bytes * BODY_SHARE)
        parts = cut(items, most_items=limits.max_batch_items, most_bytes=most_bytes, servers=servers)
    at_once *= len({part.server for part in parts})
    calls = [_call(path, part, asked=asked, into=into) for part in parts]
    answers: list[Any] = yield Together(calls=calls, at_once=at_once, stop=stop)
    found: list[Any] = [None] * len(items)
    for part, answer in zip(parts, answers, strict=True):
        for place, one in zip(part.places, _of_part(part, answer), strict=False):
            found[place] = one
    return found


def answered(
    path: str, *, into: type[BaseModel], answer: type[AnswerT], requests: Sequence[Request], at_once: int
) -> Plan[list[AnswerT]]:
    """Give every answer, in order; raises the first request's error, with its `index`. Begins no call after one."""
    found = yield from settled(path, into=into, requests=requests, at_once=at_once, stop=True)
    for one in found:
        if isinstance(one, APIError):
            raise one
    return cast(list[AnswerT], found)


def _call(path: str, part: Part, *, asked: Sequence[Asked], into: type[BaseModel]) -> Call[Any]:
    content = b'{"items": [' + b",".join(part.items) + b"]}"
    read = partial(_read, places=part.places, read=reader(into))
    # Should its server not be well, all of it goes where its first question would.
    whole = Asked(asked[part.places[0]].key, sum(asked[place].weight for place in part.places))
    return Call(
        method="POST",
        path=path,
        read=read,
        content=content,
        headers=JSON,
        repeatable=True,
        asked=whole,
        server=part.server,
    )


def _read(response: Any, *, places: Sequence[int], read: Any) -> list[Any]:
    return [
        _problems.from_problem(item.problem, index=_placed(places, item.index))
        if isinstance(item, BatchItemError)
        else item
        for item in read(response).data
    ]


def _of_part(part: Part, answer: Any) -> list[Any]:
    if isinstance(answer, list):
        return cast(list[Any], answer)
    if isinstance(answer, APIStatusError):
        answer.index = _place(answer.param, places=part.places)
    return [answer] * len(part.items)


def _place(param: str | None, *, places: Sequence[int]) -> int | None:
    # A call that was refused whole may point at one item: /items/3/question.
    pieces = (param or "").split("/")
    if len(pieces) > 2 and pieces[1] == "items" and pieces[2].isdecimal():
        return _placed(places, int(pieces[2]))
    return None


def _placed(places: Sequence[int], index: int) -> int | None:
    # What a server says is not trusted to lie within what it was sent.
    return places[index] if 0 <= index < len(places) else None
