"""Answer many requests: cut to what the server takes, sent side by side, given back in order."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar, cast

from pydantic import BaseModel

from rlt_client import _problems
from rlt_client._calls import AskLimits, Call, Plan, Together, reader
from rlt_client._errors import APIError, APIStatusError
from rlt_client._resources.bodies import body_of
from rlt_core.schemas.server import BatchItemError, Limits

AnswerT = TypeVar("AnswerT", bound=BaseModel)

AT_ONCE: Final = 4
"""Calls of one batch that are open together. The engine batches what is in them; more calls only fill its queue."""
BODY_SHARE: Final = 0.95
"""Of the largest body that the server takes."""
JSON: Final = {"Content-Type": "application/json"}

Request = BaseModel | Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Items of one call, encoded, and the place of the first in the whole."""

    start: int
    items: list[bytes]


def cut(items: Sequence[bytes], *, most_items: int, most_bytes: int) -> list[Part]:
    """Cut into parts within both bounds; an item that is larger by itself goes alone, for the server to refuse."""
    parts: list[Part] = []
    size = 0
    for place, item in enumerate(items):
        if not parts or len(parts[-1].items) == most_items or size + len(item) + 1 > most_bytes:
            parts.append(Part(start=place, items=[]))
            size = 0
        parts[-1].items.append(item)
        size += len(item) + 1
    return parts


def settled(
    path: str, *, into: type[BaseModel], requests: Sequence[Request], at_once: int, stop: bool = False
) -> Plan[list[Any]]:
    """Give an answer or an APIError for each request, in order; None for what was not begun, with `stop`."""
    items = [json.dumps(body_of(request), ensure_ascii=False, allow_nan=True).encode() for request in requests]
    if not items:
        return []
    parts = [Part(start=0, items=items)]
    if len(items) > 1:
        limits: Limits = yield AskLimits()
        most_bytes = int(limits.max_body_bytes * BODY_SHARE)
        parts = cut(items, most_items=limits.max_batch_items, most_bytes=most_bytes)
    calls = [_call(path, part, into=into) for part in parts]
    answers: list[Any] = yield Together(calls=calls, at_once=at_once, stop=stop)
    return [one for part, answer in zip(parts, answers, strict=True) for one in _of_part(part, answer)]


def answered(
    path: str, *, into: type[BaseModel], answer: type[AnswerT], requests: Sequence[Request], at_once: int
) -> Plan[list[AnswerT]]:
    """Give every answer, in order; raises the first request's error, with its `index`. Begins no call after one."""
    found = yield from settled(path, into=into, requests=requests, at_once=at_once, stop=True)
    for one in found:
        if isinstance(one, APIError):
            raise one
    return cast(list[AnswerT], found)


def _call(path: str, part: Part, *, into: type[BaseModel]) -> Call[Any]:
    content = b'{"items": [' + b",".join(part.items) + b"]}"
    read = partial(_read, start=part.start, read=reader(into))
    return Call(method="POST", path=path, read=read, content=content, headers=JSON, repeatable=True)


def _read(response: Any, *, start: int, read: Any) -> list[Any]:
    return [
        _problems.from_problem(item.problem, index=start + item.index) if isinstance(item, BatchItemError) else item
        for item in read(response).data
    ]


def _of_part(part: Part, answer: Any) -> list[Any]:
    if isinstance(answer, list):
        return cast(list[Any], answer)
    if isinstance(answer, APIStatusError):
        answer.index = _place(answer.param, start=part.start)
    return [answer] * len(part.items)


def _place(param: str | None, *, start: int) -> int | None:
    # A call that was refused whole may point at one item: /items/3/question.
    pieces = (param or "").split("/")
    if len(pieces) > 2 and pieces[1] == "items" and pieces[2].isdecimal():
        return start + int(pieces[2])
    return None
