"""A collector of spans for tests: OTLP over HTTP on a port of its own, kept in a list."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenSpan:
    """What a process has sent of one span."""

    service: str
    name: str
    trace_id: str
    span_id: str
    above: str
    attributes: dict[str, str]


@dataclass(slots=True)
class OtlpSink:
    """What has come so far."""

    endpoint: str = ""
    spans: list[SeenSpan] = field(default_factory=list[SeenSpan])

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = next(one.value.string_value for one in resource.resource.attributes if one.key == "service.name")
            for scope in resource.scope_spans:
                for span in scope.spans:
                    told = {one.key: str(one.value) for one in span.attributes}
                    self.spans.append(
                        SeenSpan(
                            service=service,
                            name=span.name,
                            trace_id=span.trace_id.hex(),
                            span_id=span.span_id.hex(),
                            above=span.parent_span_id.hex(),
                            attributes=told,
                        )
                    )


@contextmanager
def otlp_sink() -> Generator[OtlpSink]:
    """Listen, until the block ends."""
    sink = OtlpSink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            sink.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sink.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield sink
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
