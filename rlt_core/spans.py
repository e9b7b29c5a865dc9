"""Own the spans that this process records, where OpenTelemetry is installed and told where to send them; else none.

OpenTelemetry is no dependency: it is imported by `set_up` alone, or by an application that has set it up for itself.
Elsewhere nothing of it is imported, and next to nothing done. What errors say is never recorded: it may quote texts.
"""

import logging
import os
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from rlt_core import trace_context
from rlt_core.trace_context import TraceContext

LOGGER = logging.getLogger(__name__)

ENDPOINT_VARIABLE = "RLT_OTLP_ENDPOINT"
STANDARD_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""OpenTelemetry's own name for the same; ours goes first."""
TIMEOUT_S = 5
"""For one export: a collector that is away must hold up no end of a process for long."""

Kind = Literal["internal", "server", "client", "consumer"]
Value = str | int | float | bool
_SCOPE = "rlt"
_API = "opentelemetry.trace"


@dataclass(frozen=True, slots=True)
class Span:
    """What is recorded of a piece of work; one that is not recorded takes everything and keeps nothing."""

    recorded: Any = None
    place: TraceContext | None = None
    """Where it is in its trace; None outside of every trace."""

    @property
    def headers(self) -> dict[str, str]:
        """Give what a request carries so that its answer is worked out below this."""
        return {} if self.place is None else {trace_context.HEADER: self.place.traceparent}

    def set(self, **attributes: Value) -> None:
        """Note facts, none of them a text of a caller's; `a__b` is written `a.b`."""
        if self.recorded is not None:
            self.recorded.set_attributes({name.replace("__", "."): value for name, value in attributes.items()})

    def name(self, name: str) -> None:
        """Call it otherwise than it was begun."""
        if self.recorded is not None:
            self.recorded.update_name(name)

    def fail(self, reason: str) -> None:
        """Mark it as failed; `reason` is a word of ours, such as a status or a kind of error."""
        if self.recorded is not None:
            api = sys.modules[_API]
            self.recorded.set_status(api.Status(api.StatusCode.ERROR, reason))


def endpoint_of(environment: Mapping[str, str]) -> str:
    """Say where spans go, as a collector's base address for OTLP over HTTP; empty: nowhere."""
    return environment.get(ENDPOINT_VARIABLE) or environment.get(STANDARD_VARIABLE) or ""


def set_up(service: str, *, endpoint: str) -> None:
    """Record spans of this process and send them to `endpoint`, empty: none; once a process, before its work begins.

    Which share of traces is recorded, and all else, OpenTelemetry reads from its own variables (OTEL_TRACES_SAMPLER).
    """
    if not endpoint:
        return
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        LOGGER.warning(
            "traces are to go to %s, and OpenTelemetry is not installed (%s): none are recorded; "
            "install rlt[observe], or unset %s and %s",
            endpoint,
            error,
            ENDPOINT_VARIABLE,
            STANDARD_VARIABLE,
        )
        return
    names = {"service.name": os.environ.get("OTEL_SERVICE_NAME") or service, "service.namespace": "rlt"}
    provider = TracerProvider(resource=Resource.create(names))
    exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


def here() -> TraceContext | None:
    """Say where the work at hand is in a trace, of ours or of the application's around it."""
    return trace_context.current() or _of_application()


@contextmanager
def span(
    name: str,
    *,
    kind: Kind = "internal",
    above: TraceContext | None = None,
    begin: bool = False,
    enter: bool = True,
    **attributes: Value,
) -> Generator[Span]:
    """Record the block as one piece of work, below `above` or else below where the work at hand is.

    Where nothing is recorded the block keeps its place in the trace; `begin` gives it one where it has none. With
    `enter` False what is done in the block is not below it: a stream's reader does other things between its parts.
    """
    parent = above or here()
    tracer = _tracer()
    if tracer is None:
        place = parent or (trace_context.begun() if begin else None)
        with trace_context.within(place) if enter else nullcontext():
            yield Span(place=place)
        return
    api = sys.modules[_API]
    begun = tracer.start_span(
        name,
        context=None if parent is None else api.set_span_in_context(_remote(api, parent)),
        kind=getattr(api.SpanKind, kind.upper()),
        attributes={name.replace("__", "."): value for name, value in attributes.items()},
    )
    told = Span(begun, place=_context_of(begun.get_span_context()))
    try:
        with trace_context.within(told.place) if enter else nullcontext():
            yield told
    except BaseException as error:
        told.fail(type(error).__name__)
        raise
    finally:
        begun.end()


def _tracer() -> Any:
    """Give the tracer of an OpenTelemetry that has been set up; None where none has."""
    api = sys.modules.get(_API)
    if api is None:
        return None
    provider = api.get_tracer_provider()
    return None if isinstance(provider, api.ProxyTracerProvider) else _tracer_of(provider)


@lru_cache(maxsize=1)
def _tracer_of(provider: Any) -> Any:
    return provider.get_tracer(_SCOPE)


def _remote(api: Any, context: TraceContext) -> Any:
    flags = api.TraceFlags(int(context.sampled))
    place = api.SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=True, trace_flags=flags)
    return api.NonRecordingSpan(place)


def _of_application() -> TraceContext | None:
    api = sys.modules.get(_API)
    found = None if api is None else api.get_current_span().get_span_context()
    return None if found is None or not found.is_valid else _context_of(found)


def _context_of(found: Any) -> TraceContext:
    return TraceContext(
        trace_id=f"{found.trace_id:032x}", span_id=f"{found.span_id:016x}", sampled=bool(found.trace_flags.sampled)
    )
