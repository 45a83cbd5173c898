"""Records what a process does for a request as OpenTelemetry spans, which become rows."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Span as AnySpan
from opentelemetry.trace import SpanKind, Status, StatusCode, get_current_span, set_span_in_context, use_span

from shared.xray.rows import Row, Source
from shared.xray.sources import calling_line, line_of, line_of_name

_MAX_TEXT = 2_000  # characters of one detail
_KIND, _LINK, _DETAIL = "xray.kind", "xray.link", "xray.detail."
_PATH, _LINE, _FUNCTION = "code.file.path", "code.line.number", "code.function.name"
_FASTAPI_KINDS = {
    "fastapi.dependencies": "dependencies",
    "fastapi.endpoint": "handler",
    "fastapi.serialization": "response",
    "fastapi.background_task": "background",
}
_KINDS = {SpanKind.SERVER: "request", SpanKind.PRODUCER: "queue", SpanKind.CONSUMER: "worker"}
_current: ContextVar["Recorder | None"] = ContextVar("xray_recorder", default=None)


class Recorder:
    """The tracer of a process.

    Args:
        sink: Receives each row twice: when it starts and when it has ended.

    Attributes:
        process: Name of the process in its rows.
    """

    def __init__(self, sink: Callable[[Row], None]) -> None:
        self.process = "api"
        self.sink = sink
        self.provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
        self._rows = _Rows(self)
        self.provider.add_span_processor(self._rows)
        self.tracer = self.provider.get_tracer("shared.xray")

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make this recorder current in the block, and in the tasks that it starts."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def start(
        self,
        kind: str,
        name: str,
        function: object = None,
        *,
        parent: AnySpan | None = None,
        link: str = "",
        start_time: int | None = None,
        **details: Any,
    ) -> AnySpan:
        """Start a span, which the caller ends.

        Args:
            function: The executed callable; by default, the calling line of the project.
            link: Joins it to a span of another process.
            start_time: In nanoseconds since 1970, if it is not now.
        """
        source = line_of(function) if function is not None else calling_line()
        source = source or _source_of(parent or get_current_span())
        attributes: dict[str, Any] = {_KIND: kind, _LINK: link} | _source_attributes(source)
        return self.tracer.start_span(
            name[:200],
            context=set_span_in_context(parent) if parent else None,
            attributes=attributes | _detail_attributes(details),
            start_time=start_time,
        )

    def locate(self, span: AnySpan, source: Source | None) -> None:
        """Note the line of a span that was started by other code."""
        span.set_attributes(_source_attributes(source))
        if isinstance(span, ReadableSpan):
            self.sink(self._rows.row(span))

    @contextmanager
    def span(self, kind: str, name: str, function: object = None, **details: Any) -> Iterator[AnySpan]:
        """Record the block as a span, the parent of the spans recorded inside it."""
        span = self.start(kind, name, function, **details)
        try:
            with entered(span):
                yield span
        except BaseException as error:
            fail(span, error)
            raise
        finally:
            span.end()


def current() -> Recorder | None:
    """Return the recorder, inside a request or run that is recorded and goes on."""
    recorder = _current.get()
    return recorder if recorder and get_current_span().is_recording() else None


@contextmanager
def recorded(kind: str, name: str, function: object = None, **details: Any) -> Iterator[AnySpan | None]:
    """Record the block, inside a request or run."""
    recorder = current()
    with recorder.span(kind, name, function, **details) if recorder else nullcontext() as span:
        yield span


def entered(span: AnySpan) -> Any:  # noqa: ANN401  OpenTelemetry's context manager
    """Make a span the parent of the spans recorded in the block, without ending it."""
    return use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False)


def fail(span: AnySpan, error: BaseException) -> None:
    """Note the type of an error, whose text may quote anything."""
    describe(span, error=type(error).__name__)
    span.set_status(Status(StatusCode.ERROR))


def describe(span: AnySpan, **details: str | float) -> None:
    """Add details to a span."""
    span.set_attributes(_detail_attributes(details))


def _detail_attributes(details: Mapping[str, str | float]) -> dict[str, Any]:
    return {f"{_DETAIL}{name}": _shorten(value) if isinstance(value, str) else value for name, value in details.items()}


def _shorten(text: str, limit: int = _MAX_TEXT) -> str:
    """Return a text, or its beginning."""
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text):,} characters)"


def _source_of(span: AnySpan) -> Source | None:
    return _source(span.attributes or {}) if isinstance(span, ReadableSpan) else None


def _source_attributes(source: Source | None) -> dict[str, str | int]:
    return {_PATH: source.path, _LINE: source.line, _FUNCTION: source.function} if source else {}


class _Rows(SpanProcessor):
    """Turns spans into rows at their start and at their end."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        del parent_context
        self._recorder.sink(self.row(span))

    def on_end(self, span: ReadableSpan) -> None:
        self._recorder.sink(self.row(span))

    def row(self, span: ReadableSpan) -> Row:
        """Return a span as a row."""
        attributes = span.attributes or {}
        context, failed = span.get_span_context(), span.status.status_code is StatusCode.ERROR
        kind = str(attributes.get(_KIND, _FASTAPI_KINDS.get(span.name) or _KINDS.get(span.kind, "span")))
        details = {name.removeprefix(_DETAIL): value for name, value in attributes.items() if name.startswith(_DETAIL)}
        return Row(
            span_id=f"{context.span_id if context else 0:016x}",
            parent_id=None if kind == "request" or span.parent is None else f"{span.parent.span_id:016x}",
            kind=kind,
            name=_function_name(attributes) if span.name in _FASTAPI_KINDS else span.name,
            started=(span.start_time or 0) / 1e9,
            duration_ms=(span.end_time - (span.start_time or 0)) / 1e6 if span.end_time else None,
            process=f"{self._recorder.process} {os.getpid()}",
            status="error" if failed else "ok" if span.end_time else "open",
            source=_source(attributes),
            details=details or _safe_details(kind, attributes),
            link=str(attributes.get(_LINK, "")),
        )


def _function_name(attributes: Mapping[str, Any]) -> str:
    return str(attributes.get(_FUNCTION, "")).rpartition(".")[2]


def _source(attributes: Mapping[str, Any]) -> Source | None:
    function = str(attributes.get(_FUNCTION, ""))
    if _PATH in attributes:
        return Source(path=attributes[_PATH], line=attributes[_LINE], function=function)
    return line_of_name(function, sys.modules) if function else None


_SHOWN = {
    "request": ("http.route", "http.response.status_code"),
    "queue": ("run_id", "graph"),
    "worker": ("run_id", "graph", "attempt", "status", "seconds_queued"),
}


def _safe_details(kind: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the details of a span that is not the X-ray's own: those that cannot hold a secret."""
    return {name: attributes[name] for name in _SHOWN.get(kind, ()) if name in attributes}
