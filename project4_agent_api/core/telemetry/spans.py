"""OpenTelemetry spans of requests, stored and executed runs, and the calls of models and tools.

Attributes are names of routes, graphs, models and tools, ids, and numbers. They never contain text from users, and only
the type of an exception, because its text may quote anything.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any
from uuid import UUID

from fastapi import FastAPI
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.outputs import LLMResult
from langchain_core.tracers.context import register_configure_hook
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from project4_agent_api.core.model_usage import UNNAMED, Prices, UsageByModel, model_name
from project4_agent_api.settings import Settings
from shared.middleware import PROBES

_TRACEPARENT = "traceparent"
_ERROR = Status(StatusCode.ERROR)
_propagator = TraceContextTextMapPropagator()
_current_handler: ContextVar["CallSpans | None"] = ContextVar("spans_of_calls", default=None)
register_configure_hook(_current_handler, inheritable=True)


class OpenTelemetryTracing:
    """`Tracing` that exports spans to a collector."""

    def __init__(self, provider: TracerProvider, prices: Prices) -> None:
        self._provider = provider
        self._prices = prices
        self.tracer = provider.get_tracer("project4_agent_api")

    @classmethod
    def exporting(cls, settings: Settings, process: str) -> "OpenTelemetryTracing":
        """Create the tracing of a process that exports to the collector of the settings."""
        provider = TracerProvider(resource=Resource.create({SERVICE_NAME: process}), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(
            f"{settings.otel_exporter_otlp_endpoint}/v1/traces", headers=settings.otlp_headers()
        )
        provider.add_span_processor(BatchSpanProcessor(exporter))
        return cls(provider, Prices.from_settings(settings))

    def trace_requests(self, app: FastAPI) -> None:
        """Trace every request of an application."""
        app.add_middleware(TraceRequests, spans=self)

    @asynccontextmanager
    async def running(self, app: FastAPI) -> AsyncIterator[None]:
        """Send the remaining spans when the block ends."""
        del app
        try:
            yield
        finally:
            await asyncio.to_thread(self._provider.shutdown)

    @contextmanager
    def storing_run(self, run_id: UUID, graph_id: str) -> Iterator[str | None]:
        """Trace the storing of a run, and yield the `traceparent` for its worker."""
        with self.span(f"store run {graph_id}", SpanKind.PRODUCER, None) as span:
            span.set_attributes({"run_id": str(run_id), "graph": graph_id})
            carrier: dict[str, str] = {}
            _propagator.inject(carrier)
            yield carrier.get(_TRACEPARENT)

    @contextmanager
    def executing_run(
        self, graph_id: str, traceparent: str | None, attributes: Mapping[str, str | int | float]
    ) -> Iterator[Callable[[str], None]]:
        """Trace the execution of a run and its calls, and yield a function that records its final status."""
        with self.span(f"run {graph_id}", SpanKind.CONSUMER, traceparent) as span, self.call_spans():
            span.set_attributes({"graph": graph_id, **attributes})

            def set_status(status: str) -> None:
                span.set_attribute("status", str(status))
                if status in ("error", "timeout"):
                    span.set_status(_ERROR)

            yield set_status

    def rate_run(self, traceparent: str | None, key: str, score: float | None) -> None:
        """Add feedback to the trace of a run, as the event of OpenTelemetry's conventions for generative AI.

        Values and comments stay out of it, because they may quote anything.
        """
        attributes: dict[str, str | float] = {"gen_ai.evaluation.name": key}
        if score is not None:
            attributes["gen_ai.evaluation.score.value"] = score
        with self.span(f"feedback {key}", SpanKind.INTERNAL, traceparent) as span:
            span.add_event("gen_ai.evaluation.result", attributes)

    @contextmanager
    def span(self, name: str, kind: SpanKind, parent: str | None) -> Iterator[Span]:
        """Trace the block.

        Args:
            parent: The `traceparent` of a parent in another process.
        """
        context = _propagator.extract({_TRACEPARENT: parent}) if parent else None
        span = self.tracer.start_span(name, context=context, kind=kind)
        try:
            with use_span(span, record_exception=False, set_status_on_exception=False):
                yield span
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(_ERROR)
            raise
        finally:
            span.end()

    @contextmanager
    def call_spans(self) -> Iterator[None]:
        """Trace the calls inside the block, including those of tasks that it starts."""
        calls = CallSpans(self.tracer, self._prices)
        token = _current_handler.set(calls)
        try:
            yield
        finally:
            _current_handler.reset(token)
            calls.end()


class TraceRequests:
    """ASGI middleware that traces requests."""

    def __init__(self, app: ASGIApp, spans: OpenTelemetryTracing) -> None:
        self.app = app
        self._spans = spans

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self.app(scope, receive, send)
            return
        method: str = scope["method"]
        parent = Headers(scope=scope).get(_TRACEPARENT)
        with self._spans.span(method, SpanKind.SERVER, parent) as span, self._spans.call_spans():

            async def send_and_trace(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(_ERROR)
                await send(message)

            try:
                await self.app(scope, receive, send_and_trace)
            finally:
                route = getattr(scope.get("route"), "path", None)
                if isinstance(route, str):
                    span.update_name(f"{method} {route}")
                    span.set_attribute("http.route", route)
                span.set_attribute("http.request.method", method)
                span.set_attribute("request_id", scope.get("request_id", ""))


class CallSpans(BaseCallbackHandler):
    """LangChain's handler that traces the calls of one request or run, as children of the current span."""

    run_inline = True
    ignore_chain = True
    ignore_retriever = True

    def __init__(self, tracer: Tracer, prices: Prices) -> None:
        self._tracer = tracer
        self._prices = prices
        self._open: dict[UUID, Span] = {}
        self._requested: dict[UUID, str] = {}  # models, by call

    def end(self) -> None:
        """End the spans of cancelled calls, for which LangChain calls no handler."""
        for span in self._open.values():
            span.set_attribute("error.type", "cancelled")
            span.end()
        self._open.clear()

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Start the span of a model call."""
        del serialized, messages, kwargs
        model = str((metadata or {}).get("ls_model_name", ""))
        span = self._tracer.start_span(f"chat {model}".strip(), kind=SpanKind.CLIENT)
        span.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.request.model": model})
        self._open[run_id], self._requested[run_id] = span, model or UNNAMED

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span, with the call's tokens and their cost."""
        del kwargs
        if span := self._open.pop(run_id, None):
            usage, requested = UsageByModel(), self._requested.pop(run_id, UNNAMED)
            for choices in response.generations:
                for choice in choices:
                    message = getattr(choice, "message", None)
                    usage.add(message, requested)
                    if message and (name := model_name(message)):
                        span.set_attribute("gen_ai.response.model", name)
            span.set_attribute("gen_ai.usage.input_tokens", usage.tokens.input)
            span.set_attribute("gen_ai.usage.output_tokens", usage.tokens.output)
            span.set_attribute("gen_ai.usage.cache_read.input_tokens", usage.tokens.cached_input)
            if (amount := self._prices.cost(usage).amount) is not None:
                span.set_attribute("gen_ai.usage.cost", amount)  # not in the conventions, but read by Langfuse
            span.end()

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span as failed."""
        del kwargs
        self._requested.pop(run_id, None)
        self._end_failed(run_id, type(error).__name__)

    def on_tool_start(self, serialized: dict[str, Any] | None, input_str: str, *, run_id: UUID, **kwargs: Any) -> None:
        """Start the span of a tool call."""
        del input_str
        name = str(kwargs.get("name") or (serialized or {}).get("name", ""))
        span = self._tracer.start_span(f"execute_tool {name}".strip())
        span.set_attributes({"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name})
        self._open[run_id] = span

    def on_tool_end(self, output: object, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span. An error that the tool reports in its message counts as failed."""
        del kwargs
        if isinstance(output, ToolMessage) and output.status == "error":
            self._end_failed(run_id, "ToolError")
        elif span := self._open.pop(run_id, None):
            span.end()

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span as failed."""
        del kwargs
        self._end_failed(run_id, type(error).__name__)

    def _end_failed(self, run_id: UUID, error: str) -> None:
        if span := self._open.pop(run_id, None):
            span.set_attribute("error.type", error)
            span.set_status(_ERROR)
            span.end()
