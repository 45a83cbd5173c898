"""Traces by hand: spans with a parent, also across tasks and processes."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass
class Span:
    """A step of a trace: when it ran, inside which other step, and why it failed."""

    name: str
    trace_id: str
    parent_id: str | None
    started: float
    ended: float | None = None
    error: str = ""
    attributes: dict[str, object] = field(default_factory=dict)
    span_id: str = field(default_factory=lambda: secrets.token_hex(8))


_current: ContextVar[Span | None] = ContextVar("_current", default=None)


class Tracer:
    """Records spans.

    Args:
        clock: Returns the time in seconds.

    Attributes:
        finished: The spans that ended, in this order.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.finished: list[Span] = []

    @contextmanager
    def span(self, name: str, traceparent: str | None = None, **attributes: object) -> Iterator[Span]:
        """Record a span while the block runs, as a child of the one around it.

        Args:
            traceparent: The header of a caller in another process, whose trace goes on here: `00-TRACE-SPAN-01`.
        """
        trace_id, parent_id = self._parent(traceparent)
        span = Span(name, trace_id, parent_id, self._clock(), attributes=attributes)
        token = _current.set(span)
        try:
            yield span
        except BaseException as error:
            span.error = type(error).__name__
            raise
        finally:
            _current.reset(token)
            span.ended = self._clock()
            self.finished.append(span)

    @staticmethod
    def _parent(traceparent: str | None) -> tuple[str, str | None]:
        if traceparent:
            _, trace_id, span_id, _ = traceparent.split("-")
            return trace_id, span_id
        if around := _current.get():
            return around.trace_id, around.span_id
        return secrets.token_hex(16), None


def traceparent() -> str | None:
    """Return the header that continues the current trace in another process, or None outside of any span."""
    span = _current.get()
    return f"00-{span.trace_id}-{span.span_id}-01" if span else None
