"""Own what a trace records of a call: its method and its status; a path may hold names, and is not told."""

import contextlib
from collections.abc import Generator, Mapping

import httpx

from rlt_core.spans import Span, span
from rlt_core.trace_context import TraceContext


class Traced:
    """The span of one try of a call."""

    def __init__(self, told: Span) -> None:
        """Take what is recorded of it."""
        self._told = told

    def headers(self, of_call: Mapping[str, str]) -> dict[str, str]:
        """Add to a call's headers what places the server's work below it."""
        return {**self._told.headers, **of_call}

    def answered(self, response: httpx.Response) -> None:
        """Record the answer's status."""
        self._told.set(http__response__status_code=response.status_code)
        if response.is_error:
            self._told.fail(str(response.status_code))


@contextlib.contextmanager
def traced(method: str, *, above: TraceContext | None, enter: bool) -> Generator[Traced]:
    """Record a block as one try; with `enter` False what is done in it is not below it."""
    with span(method, kind="client", above=above, enter=enter, http__request__method=method) as told:
        yield Traced(told)
