"""Carry calls out one after the other: the sync driver."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import httpx

from rlt_client._calls import CAPABILITIES, AskLimits, Call, Listing, Pause, Plan, Spread, Step, Together
from rlt_client._connection import Connection, Timeout, raise_for_status
from rlt_client._errors import APIError
from rlt_client._raw import RawResponse
from rlt_client._traces import Traced
from rlt_client._tries import Tries
from rlt_core.schemas.server import Limits

AnswerT = TypeVar("AnswerT")
ItemT = TypeVar("ItemT")


class Api:
    """A pool of connections to one server, or several that are one; safe to share between threads."""

    def __init__(self, connection: Connection, http: httpx.Client) -> None:
        self.connection = connection
        self._http = http
        self._limits: Limits | None = None

    @classmethod
    def open(cls, connection: Connection, *, transport: httpx.BaseTransport | None, http: httpx.Client | None) -> "Api":
        """Make the pool, unless the caller has one."""
        if http is not None:
            return cls(connection, http)
        with connection.failures(connection.base_url):
            return cls(connection, httpx.Client(transport=transport, **connection.client_options()))

    def with_options(self, *, timeout: Timeout | None, max_retries: int | None) -> "Api":
        """Give a driver on the same pool with other options."""
        return Api(self.connection.with_options(timeout=timeout, max_retries=max_retries), self._http)

    def send(self, call: Call[AnswerT]) -> AnswerT:
        """Send, again where that helps and does no harm, and read the answer."""
        return call.read(self._answer(call))

    def send_raw(self, call: Call[AnswerT]) -> RawResponse[AnswerT]:
        """Send, and give the answer with its HTTP response."""
        return RawResponse(self._answer(call), read=call.read)

    @contextlib.contextmanager
    def stream(self, call: Call[Any], *, silence_s: float | None = None) -> Generator[httpx.Response]:
        """Send, and give an answer that is read while it comes."""
        with self.connection.tries(call) as tries, contextlib.ExitStack() as stack:
            response = self._trying(tries, lambda: self._open(call, tries, silence_s, stack))
            with self.connection.failures(tries.server):
                yield response

    def carry_out(self, plan: Plan[AnswerT]) -> AnswerT:
        """Take a plan's steps until it gives its answer."""
        answer: Any = None
        error: APIError | None = None
        with contextlib.closing(plan):
            while True:
                try:
                    step = plan.send(answer) if error is None else plan.throw(error)
                except StopIteration as ended:
                    return ended.value
                answer, error = None, None
                try:
                    answer = self._take(step)
                except APIError as caught:
                    error = caught

    def every(self, listing: Listing[ItemT]) -> Iterator[ItemT]:
        """Give the items of every page, which is asked for when it is come to."""
        call: Call[Any] | None = listing.first
        while call is not None:
            page = self.send(call)
            yield from listing.items(page)
            call = listing.following(page)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _answer(self, call: Call[Any]) -> httpx.Response:
        tries = self.connection.tries(call)

        def once() -> httpx.Response:
            with self.connection.failures(tries.server), self.connection.traced(call) as traced:
                response = self._http.send(self._request(call, tries, traced, self.connection.timeouts))
                traced.answered(response)
            raise_for_status(response, accept_status=call.accept_status)
            return response

        with tries:
            return self._trying(tries, once)

    def _trying(self, tries: Tries, once: Callable[[], httpx.Response]) -> httpx.Response:
        while True:
            tries.begin()
            try:
                response = once()
            except APIError as error:
                pause_s = tries.pause_after(error)
            else:
                tries.answered()
                return response
            if pause_s:
                time.sleep(pause_s)

    def _open(
        self, call: Call[Any], tries: Tries, silence_s: float | None, stack: contextlib.ExitStack
    ) -> httpx.Response:
        with self.connection.failures(tries.server), contextlib.ExitStack() as opened:
            traced = opened.enter_context(self.connection.traced(call, enter=False))
            request = self._request(call, tries, traced, self.connection.within(silence_s))
            response = self._http.send(request, stream=True)
            opened.callback(response.close)
            traced.answered(response)
            if response.is_error:
                response.read()
            raise_for_status(response)
            stack.push(opened.pop_all())
        return response

    def _request(self, call: Call[Any], tries: Tries, traced: Traced, timeouts: httpx.Timeout) -> httpx.Request:
        return self._http.build_request(
            call.method,
            tries.server + call.path,
            json=call.body,
            content=call.content() if callable(call.content) else call.content,
            params=call.query() or None,
            headers=traced.headers(tries.headers),
            timeout=timeouts,
        )

    def _take(self, step: Step) -> Any:
        match step:
            case Pause(seconds=seconds):
                return time.sleep(seconds)
            case AskLimits():
                self._limits = self._limits or self.send(CAPABILITIES).limits
                return self._limits
            case Spread(path=path, items=items):
                return self.connection.replicas.spread(path, items)
            case Together():
                return self._together(step)
            case Call():
                return self.send(step)

    def _together(self, step: Together) -> list[Any]:
        failed = False

        def one(call: Call[Any]) -> Any:
            nonlocal failed
            if failed and step.stop:
                return None
            try:
                return self.send(call)
            except APIError as error:
                failed = True
                return error

        if min(step.at_once, len(step.calls)) <= 1:
            return [one(call) for call in step.calls]
        with ThreadPoolExecutor(max_workers=min(step.at_once, len(step.calls))) as pool:
            return list(pool.map(one, step.calls))
