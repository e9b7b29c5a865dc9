"""`client.explain`: ask a teacher."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypedDict, Unpack

import httpx

from rlt_client import _problems
from rlt_client._api import Api, path_of
from rlt_client._errors import APIConnectionError, APIResponseValidationError
from rlt_client._resources.bodies import BATCH_ITEMS, body_of, chunks
from rlt_client._sse import ServerSentEvent, parse
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
from rlt_core.schemas.server import BatchItemError, Problem

_EVENTS: dict[str, type[ExplainEvent]] = {"delta": ExplanationDelta, "explanation": Explanation, "done": ExplainDone}


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


class Explain:
    """Callable: `client.explain(question=…, solution=…, teacher="algebra@3", n=4)`."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def __call__(self, *, question: str, solution: str, **options: Unpack[ExplainOptions]) -> ExplainResponse:
        """Let a teacher explain how the question leads to the solution."""
        return self.create({"question": question, "solution": solution, **options})

    def create(self, request: ExplainRequest | Mapping[str, Any]) -> ExplainResponse:
        """Send a whole request."""
        return self._api.post(path_of("explain"), into=ExplainResponse, body=body_of(request))

    def stream(self, *, question: str, solution: str, **options: Unpack[ExplainOptions]) -> Iterator[ExplainEvent]:
        """Give text while it is written: an ExplanationDelta at a time, each Explanation whole, ExplainDone at the end.

        Leaving the loop, or closing the iterator, ends the work on the server. Raises APIStatusError, also in the
        middle, and APIConnectionError where the stream breaks off.
        """
        body = body_of({"question": question, "solution": solution, **options, "stream": True})
        with self._api.stream("POST", path_of("explain"), body=body) as response:
            for event in parse(response.iter_lines()):
                read = self._event(event, url=response.request.url)
                yield read
                if isinstance(read, ExplainDone):
                    return
        raise APIConnectionError("the stream broke off before its end: ask again")

    def batch(self, requests: Sequence[ExplainRequest | Mapping[str, Any]]) -> list[ExplainResponse]:
        """Answer all, in order, 256 a call; raises the first failed item's APIStatusError, with its `index`."""
        answers: list[ExplainResponse] = []
        for start, items in chunks(requests, size=BATCH_ITEMS):
            body = {"items": [body_of(item) for item in items]}
            for item in self._api.post(path_of("explain", "batch"), into=ExplainBatchResponse, body=body).data:
                if isinstance(item, BatchItemError):
                    raise _problems.from_problem(item.problem, index=start + item.index)
                answers.append(item)
        return answers

    def _event(self, event: ServerSentEvent, *, url: httpx.URL) -> ExplainEvent:
        if event.event == "error":
            raise _problems.from_problem(self._api.parse(event.data, into=Problem, url=url))
        if event.event not in _EVENTS:
            raise APIResponseValidationError(
                f"{url} sent an event {event.event[:50]!r}: is it an RLT server, and one that this client knows?"
            )
        return self._api.parse(event.data, into=_EVENTS[event.event], url=url)
