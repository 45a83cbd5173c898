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
        # TODO: find the trace and the parent: in the header, in `_current`, or start a trace (16 random bytes as hex).
        #       Set `_current` for the block; at its end, also after an exception, restore it, and record the end. Note
        #       the exception's class name as `error`, and let it go on.
        #       找出 trace 和父 span：来自请求头，来自 _current，或者新开一个 trace（16 个随机字节的十六进制）。
        #       代码块运行期间设置 _current；结束时（抛异常也一样）恢复它，并记录结束时间。
        #       异常的类名记到 error 里，异常继续往外抛。
        yield Span(name, secrets.token_hex(16), None, self._clock(), attributes=attributes)


def traceparent() -> str | None:
    """Return the header that continues the current trace in another process, or None outside of any span."""
    # TODO: version 00, then the ids of the trace and of the current span, then 01, joined by hyphens
    #       版本 00、trace 的 id、当前 span 的 id、01，用连字符连接
    return None
