"""`client.explain`: ask a teacher."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, TypedDict, Unpack

import httpx

from rlt_client import _problems
from rlt_client._calls import Call, Plan, ask, parse, path_of, reader
from rlt_client._errors import APIConnectionError, APIError, APIResponseValidationError
from rlt_client._methods import Awaiting, Blocking, call, plan
from rlt_client._resources.batches import AT_ONCE, answered, settled
from rlt_client._resources.bodies import body_of
from rlt_client._sse import ServerSentEvent, aparse
from rlt_client._sse import parse as parse_events
from rlt_core.schemas.explain import (
    ExplainBatchResponse,
    ExplainDone,
    ExplainEvent,
    ExplainInclude,
    ExplainRequest,
    ExplainResponse,
    Explanation,
    ExplanationDelta,
)
from rlt_core.schemas.server import Problem

_EVENTS: dict[str, type[ExplainEvent]] = {"delta": ExplanationDelta, "explanation": Explanation, "done": ExplainDone}

Request = ExplainRequest | Mapping[str, Any]


class ExplainOptions(TypedDict, total=False):
    """Fields of POST /v1/explain that have a default; what is left out is the server's choice."""

    teacher: str
    n: int
    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    seed: int | None
    include: Sequence[ExplainInclude]


class ExplainCalls:
    """Callable: `client.explain(question=…, solution=…, teacher="algebra@3", n=4)`."""

    @call
    def __call__(self, *, question: str, solution: str, **options: Unpack[ExplainOptions]) -> Call[ExplainResponse]:
        """Let a teacher explain how the question leads to the solution."""
        body = body_of({"question": question, "solution": solution, **options})
        return ask(path_of("explain"), into=ExplainResponse, body=body)

    @call
    def create(self, request: Request) -> Call[ExplainResponse]:
        """Send a whole request."""
        return ask(path_of("explain"), into=ExplainResponse, body=body_of(request))

    @plan
    def batch(self, requests: Sequence[Request], *, at_once: int = AT_ONCE) -> Plan[list[ExplainResponse]]:
        """Answer all, in order, in calls of what the server takes, `at_once` of them side by side.

        Raises the first failed request's APIStatusError, with its `index`.
        """
        into, path = ExplainBatchResponse, path_of("explain", "batch")
        return answered(path, into=into, answer=ExplainResponse, requests=requests, at_once=at_once)

    @plan
    def settled(self, requests: Sequence[Request], *, at_once: int = AT_ONCE) -> Plan[list[ExplainResponse | APIError]]:
        """Answer all, as `batch` does, with the APIError in the place of each that failed."""
        return settled(path_of("explain", "batch"), into=ExplainBatchResponse, requests=requests, at_once=at_once)


class Explain(ExplainCalls, Blocking):
    """Callable: `client.explain(question=…, solution=…, teacher="algebra@3", n=4)`."""

    def stream(self, *, question: str, solution: str, **options: Unpack[ExplainOptions]) -> Iterator[ExplainEvent]:
        """Give text while it is written: an ExplanationDelta at a time, each Explanation whole, ExplainDone at the end.

        Leaving the loop, or closing the iterator, ends the work on the server. Raises APIStatusError, also in the
        middle, and APIConnectionError where the stream breaks off: what a model writes cannot be taken up again.
        """
        with self._api.stream(_streamed(question=question, solution=solution, **options)) as response:
            for event in parse_events(response.iter_lines()):
                read = _event(event, url=response.request.url)
                yield read
                if isinstance(read, ExplainDone):
                    return
        raise _broken_off()


class AsyncExplain(ExplainCalls, Awaiting):
    """Callable: `await client.explain(question=…, solution=…, teacher="algebra@3", n=4)`."""

    async def stream(
        self, *, question: str, solution: str, **options: Unpack[ExplainOptions]
    ) -> AsyncIterator[ExplainEvent]:
        """Give text while it is written, as `Client.explain.stream` does: `async for event in …`."""
        async with self._api.stream(_streamed(question=question, solution=solution, **options)) as response:
            async for event in aparse(response.aiter_lines()):
                read = _event(event, url=response.request.url)
                yield read
                if isinstance(read, ExplainDone):
                    return
        raise _broken_off()


def _streamed(*, question: str, solution: str, **options: Unpack[ExplainOptions]) -> Call[Any]:
    body = body_of({"question": question, "solution": solution, **options, "stream": True})
    return Call(method="POST", path=path_of("explain"), read=reader(ExplainResponse), body=body, repeatable=True)


def _event(event: ServerSentEvent, *, url: httpx.URL) -> ExplainEvent:
    if event.event == "error":
        raise _problems.from_problem(parse(event.data, into=Problem, url=url))
    if event.event not in _EVENTS:
        raise APIResponseValidationError(
            f"{url} sent an event {event.event[:50]!r}: is it an RLT server, and one that this client knows?"
        )
    return parse(event.data, into=_EVENTS[event.event], url=url)


def _broken_off() -> APIConnectionError:
    return APIConnectionError("the stream broke off before its end: ask again")
