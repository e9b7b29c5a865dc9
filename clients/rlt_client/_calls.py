"""Own what a call of the SDK is: one description each, which a sync and an async driver carry out; pure."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from rlt_client._errors import APIResponseValidationError
from rlt_core.replicas import Asked
from rlt_core.schemas.server import Capabilities

AnswerT = TypeVar("AnswerT")
ModelT = TypeVar("ModelT", bound=BaseModel)
ItemT = TypeVar("ItemT")

Params = Mapping[str, str | int | float | bool | None]
Content = bytes | Callable[[], Iterable[bytes]]
"""A body that is no JSON value: bytes, or what makes its pieces anew each time that it is sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[AnswerT]):
    """One request, how its answer is read, and whether it may be sent again."""

    method: str
    path: str
    read: Callable[[httpx.Response], AnswerT]
    body: Any = None
    content: Content | None = None
    params: Params = field(default_factory=dict[str, str | int | float | bool | None])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    accept_status: tuple[int, ...] = ()
    """Statuses of 400 and more that are answers too."""
    repeatable: bool = False
    """Sent twice it does no more than once."""
    keyed: bool = False
    """It writes: a driver that would repeat it gives it an Idempotency-Key, and may repeat it then."""
    idempotency_key: str | None = None
    asked: Asked | None = None
    """What its server is chosen by, where the body does not say it."""
    server: str | None = None
    """The URL that it was dealt out to; another is taken where that one is not well."""

    def once(self) -> "Call[AnswerT]":
        """Give the same call for one that waits by itself: the driver does not repeat it."""
        return replace(self, repeatable=False, keyed=False)

    def query(self) -> dict[str, str | int | float | bool]:
        """Give the query, without what was left out."""
        return {name: value for name, value in self.params.items() if value is not None}


def path_of(*segments: str | int) -> str:
    """Build `/v1/…`; each segment is escaped, so that no id or name can change the path."""
    return "/v1/" + "/".join(quote(str(segment), safe="@") for segment in segments)


def get(path: str, *, into: type[ModelT], params: Params | None = None) -> Call[ModelT]:
    """Read something."""
    return Call(method="GET", path=path, read=reader(into), params=params or {}, repeatable=True)


def ask(path: str, *, into: type[ModelT], body: Any = None) -> Call[ModelT]:
    """POST what makes nothing, or what does no more when it is sent twice."""
    return Call(method="POST", path=path, read=reader(into), body=body, repeatable=True)


def write(
    method: str,
    path: str,
    *,
    into: type[ModelT],
    body: Any = None,
    idempotency_key: str | None = None,
) -> Call[ModelT]:
    """Change something: repeated under one Idempotency-Key only."""
    return Call(method=method, path=path, read=reader(into), body=body, keyed=True, idempotency_key=idempotency_key)


def reader(into: type[ModelT]) -> Callable[[httpx.Response], ModelT]:
    """Read JSON; fields that this SDK does not know are left out, since the contract may grow."""

    def read(response: httpx.Response) -> ModelT:
        return parse(response.content, into=into, url=response.request.url)

    return read


def parse(content: bytes | str, *, into: type[ModelT], url: httpx.URL) -> ModelT:
    """Read JSON that came from `url`; raises APIResponseValidationError where it is something else."""
    try:
        return into.model_validate_json(content, extra="ignore")
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "/".join(str(part) for part in first["loc"]) or "the body"
        raise APIResponseValidationError(
            f"{url} did not answer with a {into.__name__} ({where}: {first['msg']}): "
            "is it an RLT server, and of a version that this client knows?"
        ) from error


CAPABILITIES: Final = get(path_of("capabilities"), into=Capabilities)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A step of a plan: wait."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AskLimits:
    """A step of a plan: the server's Limits, asked once a client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A step of a plan: the items of a batch dealt out to servers; gives a URL each, None where there is one server."""

    path: str
    items: Sequence[Asked]


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """A step of a plan: several calls side by side; gives answers in order, an APIError for one that failed.

    After a failure no further call is begun with `stop`; one that was not begun gives None.
    """

    calls: Sequence[Call[Any]]
    at_once: int
    stop: bool


Step = Call[Any] | Pause | AskLimits | Spread | Together
Plan = Generator[Step, Any, AnswerT]
"""Several steps as a generator: it is sent each step's answer, or has its APIError raised within."""


def step(call: Call[AnswerT]) -> Plan[AnswerT]:
    """Make one call within a plan; `yield from` it, for its typed answer."""
    answer: AnswerT = yield call
    return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[ItemT]):
    """A list that comes in pages: the first call, a page's items, and the call after a page (None at the end)."""

    first: Call[Any]
    items: Callable[[Any], Sequence[ItemT]]
    following: Callable[[Any], Call[Any] | None]


def by_last_id(call: Call[Any]) -> Listing[Any]:
    """Go on after a page's `last_id`."""

    def following(page: Any) -> Call[Any] | None:
        if not (page.has_more and page.data and page.last_id):
            return None
        return replace(call, params={**call.params, "after": page.last_id})

    return Listing(first=call, items=lambda page: page.data, following=following)


def by_offset(window: Callable[[int], Call[Any]]) -> Listing[Any]:
    """Go on where a window of rows ended; `window` gives the call from an offset on."""
    read = 0

    def following(page: Any) -> Call[Any] | None:
        nonlocal read
        read += len(page.data)
        return window(read) if page.has_more and page.data else None

    return Listing(first=window(0), items=lambda page: page.data, following=following)
