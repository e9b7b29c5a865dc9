"""Spans of the test's own process, kept in memory; OpenTelemetry is set up for one test and taken away after it."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once


@pytest.fixture
def recorded() -> Iterator[InMemorySpanExporter]:
    """Set OpenTelemetry up as an application does; it has no way to take that back but its own private one."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    api: Any = trace
    before = api._TRACER_PROVIDER
    api._TRACER_PROVIDER, api._TRACER_PROVIDER_SET_ONCE = None, Once()
    trace.set_tracer_provider(provider)
    try:
        yield exporter
    finally:
        api._TRACER_PROVIDER, api._TRACER_PROVIDER_SET_ONCE = before, Once()
        provider.shutdown()
