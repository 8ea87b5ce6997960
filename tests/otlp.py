"""A collector that speaks OTLP/HTTP and keeps what it is sent (opentelemetry-proto decodes it)."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span


@dataclass(frozen=True)
class Collector:
    """A collector that runs.

    Attributes:
        endpoint: for ``tracing.endpoint``.
        folder: one file for each request, header fields first.
        requests: bodies in their order.
        headers: header fields of each request.
    """

    endpoint: str
    folder: Path
    requests: list[bytes]
    headers: list[dict[str, str]]

    @property
    def scopes(self) -> list[ScopeSpans]:
        """Return all spans so far, by who made them."""
        sent = [ExportTraceServiceRequest.FromString(body) for body in self.requests]
        return [scope for request in sent for resource in request.resource_spans for scope in resource.scope_spans]

    @property
    def spans(self) -> list[Span]:
        """Return all spans so far."""
        return [span for scope in self.scopes for span in scope.spans]


def attributes(span: Span) -> dict[str, str]:
    """Return a span's attributes, all of which are strings."""
    return {pair.key: pair.value.string_value for pair in span.attributes}


@contextmanager
def collector(folder: Path) -> Iterator[Collector]:
    """Run a collector on a free port of loopback."""
    folder.mkdir(parents=True, exist_ok=True)
    requests: list[bytes] = []
    headers: list[dict[str, str]] = []

    class _Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers.append({name.lower(): value for name, value in self.headers.items()})
            requests.append(body)
            (folder / f"{len(requests)}").write_bytes(f"{self.path} {headers[-1]}".encode() + body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Collector(f"http://127.0.0.1:{server.server_address[1]}/v1/traces", folder, requests, headers)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
