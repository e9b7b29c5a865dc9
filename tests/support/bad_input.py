"""Own what a row of the table of bad inputs is, and how its names of things become those of a running server."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

JSON = {"Content-Type": "application/json"}
NOTHING: object = object()
"""A call without a body; null is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BadInput:
    """One input that is refused, and the documented answer.

    In path and body `$dataset`, `$job` and so on stand for what the server holds, see `bad_input_server.py`.
    """

    name: str
    """What is wrong with it, in a few words: the id of its test, and its line in docs/errors.md."""
    call: str
    """Method and path, as `POST /v1/explain`."""
    body: object = NOTHING
    """What is sent as JSON; bytes go as they are, a tuple of them in chunks without a length."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    status: int = 422
    code: str = "invalid_request"
    param: str | None = None
    why: str
    """Words of the message, which says what was wrong and what to do."""

    @property
    def method(self) -> str:
        """Of the call."""
        return self.call.partition(" ")[0]

    @property
    def path(self) -> str:
        """Path and query of the call."""
        return self.call.partition(" ")[2]

    @property
    def operation(self) -> str:
        """Method and path without the query, for people."""
        return self.call.partition("?")[0]


def request_of(row: BadInput, names: Mapping[str, object]) -> dict[str, Any]:
    """Give what `client.request` takes, names put in."""
    request: dict[str, Any] = {"method": row.method, "url": _named(row.path, names), "headers": dict(row.headers)}
    if isinstance(row.body, tuple):
        request["content"] = _chunks(row.body)
    elif isinstance(row.body, bytes):
        request["content"] = row.body
    elif row.body is not NOTHING:
        request["content"] = json.dumps(_with_names(row.body, names))
    if row.body is not NOTHING and not any(name.lower() == "content-type" for name in row.headers):
        request["headers"] |= JSON
    return request


def _chunks(parts: tuple[bytes, ...]) -> Iterator[bytes]:
    yield from parts


def _with_names(value: Any, names: Mapping[str, object]) -> Any:
    if isinstance(value, str):
        return names.get(value[1:], value) if value.startswith("$") else value
    if isinstance(value, dict):
        return {name: _with_names(one, names) for name, one in value.items()}
    return [_with_names(one, names) for one in value] if isinstance(value, list) else value


def _named(path: str, names: Mapping[str, object]) -> str:
    for name, value in names.items():
        path = path.replace(f"${name}", str(value)) if isinstance(value, str) else path
    return path
