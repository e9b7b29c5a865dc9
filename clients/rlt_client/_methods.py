"""Make methods of descriptions: the same one runs at once on a sync resource and is awaited on an async one.

A description is written once, in a class of calls (`JobCalls.get` gives a `Call[Job]`). `Jobs(JobCalls, Blocking)` has
it as `get(job_id) -> Job`, `AsyncJobs(JobCalls, Awaiting)` as `get(job_id)` to be awaited.
"""

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from rlt_client._calls import Call, Listing, Plan

if TYPE_CHECKING:
    from rlt_client._api import Api
    from rlt_client._async_api import AsyncApi
    from rlt_client._raw import RawResponse

P = ParamSpec("P")
AnswerT = TypeVar("AnswerT")
ItemT = TypeVar("ItemT")


class Blocking:
    """Resources whose methods give their answers."""

    def __init__(self, api: "Api") -> None:
        self._driver = api

    @property
    def _api(self) -> "Api":
        return self._driver


class Awaiting:
    """Resources whose methods are awaited."""

    def __init__(self, api: "AsyncApi") -> None:
        self._driver = api

    @property
    def _api(self) -> "AsyncApi":
        return self._driver


BlockingT = TypeVar("BlockingT", bound=Blocking)
AwaitingT = TypeVar("AwaitingT", bound=Awaiting)


class RawBlocking:
    """Resources whose methods give answers with their HTTP response."""

    def __init__(self, api: "Api") -> None:
        self._api = api


class RawAwaiting:
    """Resources whose methods are awaited and give answers with their HTTP response."""

    def __init__(self, api: "AsyncApi") -> None:
        self._api = api


class call(Generic[P, AnswerT]):
    """Make a method of the description of one call."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Call[AnswerT]]) -> None:
        self._describe = describe
        functools.update_wrapper(self, describe)  # pyright: ignore[reportArgumentType] - a descriptor is no function

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, instance: Blocking, owner: type[Any]) -> Callable[P, AnswerT]: ...
    @overload
    def __get__(self, instance: Awaiting, owner: type[Any]) -> Callable[P, Coroutine[Any, Any, AnswerT]]: ...
    @overload
    def __get__(self, instance: RawBlocking, owner: type[Any]) -> "Callable[P, RawResponse[AnswerT]]": ...
    @overload
    def __get__(
        self, instance: RawAwaiting, owner: type[Any]
    ) -> "Callable[P, Coroutine[Any, Any, RawResponse[AnswerT]]]": ...
    @overload
    def __get__(self, instance: object, owner: type[Any]) -> Callable[P, Call[AnswerT]]: ...
    def __get__(self, instance: object, owner: type[Any]) -> Any:
        """Bind to a resource; a bare class of calls gives the description."""
        if instance is None:
            return self
        describe: Any = functools.partial(self._describe, instance)
        if isinstance(instance, Blocking | Awaiting):
            return _like(self._describe, instance, lambda *a, **k: instance._api.send(describe(*a, **k)))  # pyright: ignore
        if isinstance(instance, RawBlocking | RawAwaiting):
            return _like(self._describe, instance, lambda *a, **k: instance._api.send_raw(describe(*a, **k)))  # pyright: ignore
        return describe


class plan(Generic[P, AnswerT]):
    """Make a method of a plan, which makes several calls."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Plan[AnswerT]]) -> None:
        self._describe = describe
        functools.update_wrapper(self, describe)  # pyright: ignore[reportArgumentType] - a descriptor is no function

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, instance: Blocking, owner: type[Any]) -> Callable[P, AnswerT]: ...
    @overload
    def __get__(self, instance: Awaiting, owner: type[Any]) -> Callable[P, Coroutine[Any, Any, AnswerT]]: ...
    @overload
    def __get__(self, instance: object, owner: type[Any]) -> Callable[P, Plan[AnswerT]]: ...
    def __get__(self, instance: object, owner: type[Any]) -> Any:
        """Bind to a resource."""
        if instance is None:
            return self
        describe: Any = functools.partial(self._describe, instance)
        if isinstance(instance, Blocking | Awaiting):
            return _like(self._describe, instance, lambda *a, **k: instance._api.carry_out(describe(*a, **k)))  # pyright: ignore
        return describe


class act(Generic[P]):
    """Make a method of a plan that gives what it is a method of."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Plan[Any]]) -> None:
        self._plan = plan(describe)
        functools.update_wrapper(self, describe)  # pyright: ignore[reportArgumentType] - a descriptor is no function

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, instance: BlockingT, owner: type[Any]) -> Callable[P, BlockingT]: ...
    @overload
    def __get__(self, instance: AwaitingT, owner: type[Any]) -> Callable[P, Coroutine[Any, Any, AwaitingT]]: ...
    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        """Bind to what it acts on."""
        if instance is None:
            return self
        described: Any = self._plan
        return described.__get__(instance, owner)


class every(Generic[P, ItemT]):
    """Make an iterator over all of a list, page by page as it is read."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Listing[ItemT]]) -> None:
        self._describe = describe
        functools.update_wrapper(self, describe)  # pyright: ignore[reportArgumentType] - a descriptor is no function

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, instance: Blocking, owner: type[Any]) -> Callable[P, Iterator[ItemT]]: ...
    @overload
    def __get__(self, instance: Awaiting, owner: type[Any]) -> Callable[P, AsyncIterator[ItemT]]: ...
    @overload
    def __get__(self, instance: object, owner: type[Any]) -> Callable[P, Listing[ItemT]]: ...
    def __get__(self, instance: object, owner: type[Any]) -> Any:
        """Bind to a resource."""
        if instance is None:
            return self
        describe: Any = functools.partial(self._describe, instance)
        if isinstance(instance, Blocking | Awaiting):
            return _like(self._describe, instance, lambda *a, **k: instance._api.every(describe(*a, **k)))  # pyright: ignore
        return describe


def _like(described: Callable[..., Any], instance: object, bound: Callable[..., Any]) -> Callable[..., Any]:
    # Help and signatures are those of the description, bound.
    return functools.wraps(described.__get__(instance))(bound)
