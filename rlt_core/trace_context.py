"""Own which trace the work at hand belongs to: W3C trace context as text, and where it is kept. Records nothing."""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

HEADER = "traceparent"
"""Of a request, in the W3C's form: `00-<trace, 32 digits>-<span, 16 digits>-<flags, 2 digits>`, hexadecimal."""
VARIABLE = "TRACEPARENT"
"""The same in a process's environment."""

_FORM = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 0x01


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """A place in a trace: what is done next is done below it."""

    trace_id: str
    """32 hexadecimal digits, not all 0."""
    span_id: str
    """16 hexadecimal digits, not all 0."""
    sampled: bool
    """Whether whoever came before records it."""

    @property
    def traceparent(self) -> str:
        """Write it as a header of version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


_CURRENT: ContextVar[TraceContext | None] = ContextVar("rlt_trace", default=None)


def parse(text: str | None) -> TraceContext | None:
    """Read a traceparent of any version; None for what is none, which begins a trace of its own."""
    found = _FORM.fullmatch(text or "")
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceContext(trace_id=trace_id, span_id=span_id, sampled=bool(int(flags, 16) & _SAMPLED))


def begun() -> TraceContext:
    """Begin a trace that nobody records: its number ties the records of logs together."""
    return TraceContext(trace_id=_digits(16), span_id=_digits(8), sampled=False)


def current() -> TraceContext | None:
    """Give where the work at hand is; None outside of every trace. Threads begin outside."""
    return _CURRENT.get()


def fields() -> dict[str, str | int]:
    """Give what records of logs carry: the number of the trace, where there is one."""
    context = _CURRENT.get()
    return {} if context is None else {"trace_id": context.trace_id}


def headers() -> dict[str, str]:
    """Give what a request carries so that its answer is worked out in this trace."""
    context = _CURRENT.get()
    return {} if context is None else {HEADER: context.traceparent}


@contextmanager
def within(context: TraceContext | None) -> Generator[None]:
    """Have all that is done in the block, and in tasks begun there, belong to `context`."""
    token = _CURRENT.set(context)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def _digits(count: int) -> str:
    while not any(drawn := os.urandom(count)):
        continue
    return drawn.hex()
