"""A collector of OpenTelemetry's on a real socket: receives spans by OTLP over HTTP, and keeps them."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class CollectedSpan:
    """A span that was sent."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, str]


class Collector:
    """Spans sent to its address.

    Attributes:
        url: URL of the collector, as OTEL_EXPORTER_OTLP_ENDPOINT wants it.
        paths: The paths of the requests.
        heads: The headers of each request, in small letters.
        texts: Each request as a text, with all that it says.
        spans: The received spans.
    """

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self.heads: list[dict[str, str]] = []
        self.texts: list[str] = []
        self.spans: list[CollectedSpan] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                collector.take(self.path, headers, ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as it is declared
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def take(self, path: str, headers: dict[str, str], request: ExportTraceServiceRequest) -> None:
        """Keep the received spans."""
        self.paths.add(path)
        self.heads.append(headers)
        self.texts.append(str(request))
        for resource in request.resource_spans:
            (service,) = [one.value.string_value for one in resource.resource.attributes if one.key == "service.name"]
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        CollectedSpan(
                            service,
                            span.name,
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            {
                                one.key: str(getattr(one.value, one.value.WhichOneof("value")))
                                for one in span.attributes
                            },
                        )
                    )

    def named(self, name: str) -> list[CollectedSpan]:
        """The spans of a name."""
        return [span for span in self.spans if span.name == name]


@contextmanager
def collecting() -> Iterator[Collector]:
    """Receive spans while the block runs."""
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever, args=[0.05], daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.server.shutdown()
        collector.server.server_close()
        thread.join()
