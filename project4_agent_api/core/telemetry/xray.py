"""The X-ray of runs: the spans of traces, with what the X-ray records inside them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import time_ns

from fastapi import FastAPI
from opentelemetry.trace import Span, SpanKind

from project4_agent_api.core.model_usage import Prices
from project4_agent_api.core.telemetry.spans import OpenTelemetryTracing
from shared.xray.calls import recorded_calls
from shared.xray.recorder import Recorder
from shared.xray.sources import calling_line

_HERE = Path(__file__).parent


class XrayTracing(OpenTelemetryTracing):
    """`Tracing` whose spans become rows of the X-ray, and leave the machine in no way."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(recorder.provider, Prices({}, ""))  # its rows of calls have no costs
        self._recorder = recorder

    def trace_requests(self, app: FastAPI) -> None:
        """Do nothing: FastAPI records requests itself."""

    @contextmanager
    def executing_run(
        self, graph_id: str, traceparent: str | None, attributes: Mapping[str, str | int | float]
    ) -> Iterator[Callable[[str], None]]:
        """Record the execution of a run, and how long it had waited."""
        with self._recorder.active(), super().executing_run(graph_id, traceparent, attributes) as set_status:
            waited = round(float(attributes.get("seconds_queued", 0)) * 1e9)
            self._recorder.start("wait", "wait for a worker", start_time=time_ns() - waited).end()
            yield set_status

    @contextmanager
    def span(self, name: str, kind: SpanKind, parent: str | None) -> Iterator[Span]:
        """Record the block, with the line of its caller."""
        with super().span(name, kind, parent) as span:
            self._recorder.locate(span, calling_line(_HERE))
            yield span

    @contextmanager
    def call_spans(self) -> Iterator[None]:
        """Record the calls inside the block."""
        with recorded_calls(self._recorder):
            yield
