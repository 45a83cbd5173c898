"""Metrics of model and tool calls, wherever a request or a run makes them: LangChain calls the handler."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage, ToolMessage
from langchain_core.outputs import LLMResult
from langchain_core.tracers.context import register_configure_hook

from project4_agent_api.core.model_usage import UsageByModel
from project4_agent_api.core.telemetry.metrics import ERROR, OK, UNMATCHED, Metrics

_current_handler: ContextVar["CallMetrics | None"] = ContextVar("metrics_of_calls", default=None)
register_configure_hook(_current_handler, inheritable=True)


class CallMetrics(BaseCallbackHandler):
    """LangChain's handler that counts the calls of one request or run.

    Attributes:
        usage: The tokens of its model calls.
    """

    run_inline = True  # in the event loop: a thread would cost more than the handler itself
    ignore_chain = True
    ignore_retriever = True

    def __init__(self, metrics: Metrics) -> None:
        self.first_token_at: float | None = None
        self.usage = UsageByModel()
        self._metrics = metrics
        self._started: dict[UUID, tuple[str, float]] = {}
        self._without_token: set[UUID] = set()  # streamed calls without a token yet

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Start timing a model call."""
        del serialized, messages
        params = kwargs.get("invocation_params") or {}
        name = (metadata or {}).get("ls_model_name") or params.get("model") or params.get("model_name") or UNMATCHED
        self._started[run_id] = self._metrics.model_names.label_for(str(name)), monotonic()
        self._without_token.add(run_id)

    def on_llm_new_token(self, token: str | list[str | dict[str, Any]], *, run_id: UUID, **kwargs: Any) -> None:
        """Record the time to the first token."""
        del kwargs
        if token and run_id in self._without_token:
            self._without_token.discard(run_id)
            name, started = self._started[run_id]
            now = monotonic()
            self._metrics.model_first_token.labels(name).observe(now - started)
            self.first_token_at = self.first_token_at or now

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """Count a successful model call and its tokens."""
        del kwargs
        if (name := self._finish_model_call(run_id, OK)) is None:
            return
        for choices in response.generations:
            for choice in choices:
                message = getattr(choice, "message", None)
                self.usage.add(message, name)
                usage = getattr(message, "usage_metadata", None)
                if usage:
                    self._metrics.tokens.labels(name, "input").inc(usage["input_tokens"])
                    self._metrics.tokens.labels(name, "output").inc(usage["output_tokens"])

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Count a failed model call."""
        del error, kwargs
        self._finish_model_call(run_id, ERROR)

    def _finish_model_call(self, run_id: UUID, outcome: str) -> str | None:
        self._without_token.discard(run_id)
        call = self._started.pop(run_id, None)
        if call is None:
            return None
        name, started = call
        self._metrics.model_calls.labels(name, outcome).observe(monotonic() - started)
        return name

    def on_tool_start(self, serialized: dict[str, Any] | None, input_str: str, *, run_id: UUID, **kwargs: Any) -> None:
        """Start timing a tool call."""
        del input_str
        name = kwargs.get("name") or (serialized or {}).get("name") or UNMATCHED
        self._started[run_id] = self._metrics.tool_names.label_for(str(name)), monotonic()

    def on_tool_end(self, output: object, *, run_id: UUID, **kwargs: Any) -> None:
        """Count a tool call. An error that the tool reports in its message counts as failed."""
        del kwargs
        failed = isinstance(output, ToolMessage) and output.status == "error"
        self._finish_tool_call(run_id, ERROR if failed else OK)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """Count a failed tool call."""
        del error, kwargs
        self._finish_tool_call(run_id, ERROR)

    def _finish_tool_call(self, run_id: UUID, outcome: str) -> None:
        if call := self._started.pop(run_id, None):
            name, started = call
            self._metrics.tool_calls.labels(name, outcome).observe(monotonic() - started)


@contextmanager
def observe_calls(metrics: Metrics) -> Iterator[CallMetrics]:
    """Count the calls inside the block, including those of tasks that it starts."""
    calls = CallMetrics(metrics)
    token = _current_handler.set(calls)
    try:
        yield calls
    finally:
        _current_handler.reset(token)
