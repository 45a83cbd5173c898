"""Records the calls of models and tools and the nodes of graphs: LangChain calls the handler."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import is_dataclass
from time import perf_counter
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import LLMResult
from langchain_core.tracers.context import register_configure_hook
from opentelemetry.trace import Span

from shared.xray.recorder import Recorder, current, describe, fail
from shared.xray.sources import function_of_node

_handler: ContextVar["RecordedCalls | None"] = ContextVar("xray_calls", default=None)
register_configure_hook(_handler, inheritable=True)


@contextmanager
def recorded_calls(recorder: Recorder) -> Iterator[None]:
    """Record the calls inside the block, including those of tasks that it starts."""
    handler = RecordedCalls(recorder)
    token = _handler.set(handler)
    try:
        yield
    finally:
        _handler.reset(token)
        handler.end()


class RecordedCalls(BaseCallbackHandler):
    """LangChain's handler that records the calls of one request or run."""

    run_inline = True
    ignore_retriever = True

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._open: dict[UUID, Span] = {}
        self._waiting: dict[UUID, float] = {}  # calls without a token yet

    def end(self) -> None:
        """End the spans of cancelled calls, for which LangChain calls no handler."""
        for span in self._open.values():
            describe(span, error="cancelled")
            span.end()
        self._open.clear()

    def _start(self, kind: str, name: str, run_id: UUID, parent: UUID | None, **details: Any) -> None:
        if current():
            parent_span = self._open.get(parent) if parent else None
            self._open[run_id] = self._recorder.start(kind, name, parent=parent_span, **details)

    def _end(self, run_id: UUID, **details: str | float) -> None:
        if span := self._open.pop(run_id, None):
            describe(span, **details)
            span.end()

    def _fail(self, run_id: UUID, error: BaseException) -> None:
        if span := self._open.pop(run_id, None):
            fail(span, error)
            span.end()

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: object,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Start the span of a graph's node; other chains have none."""
        del serialized, inputs
        name = kwargs.get("name")
        if metadata and name and name == metadata.get("langgraph_node"):
            step = metadata.get("langgraph_step", 0)
            self._start("node", name, run_id, parent_run_id, function=function_of_node(name), step=step)

    def on_chain_end(self, outputs: object, *, run_id: UUID, **kwargs: Any) -> None:
        """End a node's span, with its changes of the state."""
        del kwargs
        if run_id in self._open:
            self._end(run_id, state_changes=_changes(outputs))

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span as failed."""
        del kwargs
        self._fail(run_id, error)

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Start the span of a model call, with its prompt."""
        del serialized
        tools = (kwargs.get("invocation_params") or {}).get("tools") or []
        prompt = "\n".join(f"{message.type}: {message.text}" for of_call in messages for message in of_call)
        model = str((metadata or {}).get("ls_model_name", ""))
        self._start("model", f"call {model}".strip(), run_id, parent_run_id, prompt=prompt, tools=len(tools))
        self._waiting[run_id] = perf_counter()

    def on_llm_new_token(self, token: str | list[str | dict[str, Any]], *, run_id: UUID, **kwargs: Any) -> None:
        """Note the time to the first token."""
        del kwargs
        if token and (started := self._waiting.pop(run_id, None)) and (span := self._open.get(run_id)):
            describe(span, first_token_ms=round((perf_counter() - started) * 1000, 1))

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span, with the answer and the tokens."""
        del kwargs
        self._waiting.pop(run_id, None)
        messages = [getattr(choice, "message", None) for choices in response.generations for choice in choices]
        usages = [usage for message in messages if (usage := getattr(message, "usage_metadata", None))]
        answer = "\n".join(_text(message) for message in messages if isinstance(message, BaseMessage))
        tokens = {name: sum(usage[name] for usage in usages) for name in ("input_tokens", "output_tokens") if usages}
        self._end(run_id, answer=answer, **tokens)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span as failed."""
        del kwargs
        self._waiting.pop(run_id, None)
        self._fail(run_id, error)

    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **kwargs: Any,
    ) -> None:
        """Start the span of a tool call."""
        name = str(kwargs.get("name") or (serialized or {}).get("name", ""))
        self._start("tool", name, run_id, parent_run_id, input=input_str)

    def on_tool_end(self, output: object, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span."""
        del kwargs
        self._end(run_id, output=_text(output) if isinstance(output, BaseMessage) else str(output))

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        """End the span as failed."""
        del kwargs
        self._fail(run_id, error)


def _changes(outputs: object) -> str:
    """Return a node's changes to the state, as JSON; of a message only its type and text."""
    return json.dumps(outputs, default=_readable, ensure_ascii=False)


def _readable(value: object) -> object:
    if isinstance(value, BaseMessage):
        return _text(value)
    if is_dataclass(value) and hasattr(value, "update"):  # LangGraph's Command
        return value.update
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    return f"<{type(value).__name__}>"


def _text(message: BaseMessage) -> str:
    calls = [call["name"] for call in getattr(message, "tool_calls", None) or []]
    return f"{message.type}: {message.text}" + (f" → {', '.join(calls)}" if calls else "")
