"""The items of a run as AG-UI's events."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ag_ui import core as agui

from project4_agent_api.core.serialization import dumps
from project4_agent_api.wires.client_tools import ClientCall
from project4_agent_api.wires.items import (
    Citation,
    Ended,
    Interrupt,
    Item,
    Reasoning,
    Started,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from project4_agent_api.wires.messages import content_text, to_messages

_DECISION = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": {"enum": ["approve", "edit", "reject", "respond"]},
        "edited_action": {"type": "object", "description": "With `edit`: the call's `name` and `args`."},
        "message": {"type": "string", "description": "With `reject` or `respond`."},
    },
}
_DECISIONS: dict[str, Any] = {
    "type": "object",
    "required": ["decisions"],
    "properties": {"decisions": {"type": "array", "items": _DECISION, "description": "One for each tool call."}},
}


@dataclass
class EventWriter:
    """Converts the items of a run.

    Attributes:
        thread_id: The client's own name of the thread, and `run_id` that of the run.
    """

    thread_id: str
    run_id: str
    _open: tuple[Literal["text", "reasoning"], str] | None = None
    _restarted: bool = False
    _citations: list[Citation] = field(default_factory=list)
    _interrupts: list[Interrupt] = field(default_factory=list)
    _usages: list[Usage] = field(default_factory=list)

    def begin(self, messages: Sequence[Any] | None = None) -> Iterator[agui.BaseEvent]:
        """Yield the first events.

        Args:
            messages: Messages of the thread, for a client that does not know them.
        """
        yield agui.RunStartedEvent(thread_id=self.thread_id, run_id=self.run_id)
        if messages is not None:
            yield _messages_snapshot(messages)

    def write(self, item: Item) -> Iterator[agui.BaseEvent]:
        """Yield the events of an item."""
        match item:
            case Started() if item.is_restart:
                self._restarted = True
                yield from self._close()
            case Text(message_id, text):
                yield from self._begin("text", message_id)
                yield agui.TextMessageContentEvent(message_id=message_id, delta=text)
            case Reasoning(message_id, text):
                yield from self._begin("reasoning", message_id)
                yield agui.ReasoningMessageContentEvent(message_id=f"{message_id}-reasoning", delta=text)
            case ToolCall():
                yield from self._call(item)
            case ToolResult():
                yield from self._result(item)
            case Citation():
                self._citations.append(item)
            case Interrupt():
                self._ask([item])
            case Usage():
                self._usages.append(item)
            case Ended():
                yield from self._end(item)

    def finish(self, interrupts: Sequence[Interrupt]) -> Iterator[agui.BaseEvent]:
        """Yield the last event for a thread on which nothing is executed."""
        self._ask(interrupts)
        yield from self._end(Ended(None, stopped=False, state=None))

    def _ask(self, interrupts: Sequence[Interrupt]) -> None:
        """Keep questions for the end. Calls of the client's tools are none: the client has their events."""
        self._interrupts += [interrupt for interrupt in interrupts if ClientCall.from_interrupt(interrupt) is None]

    def _begin(self, kind: Literal["text", "reasoning"], message_id: str) -> Iterator[agui.BaseEvent]:
        if self._open == (kind, message_id):
            return
        yield from self._close()
        self._open = kind, message_id
        if kind == "text":
            yield agui.TextMessageStartEvent(message_id=message_id, role="assistant")
        else:
            reasoning_id = f"{message_id}-reasoning"
            yield agui.ReasoningStartEvent(message_id=reasoning_id)
            yield agui.ReasoningMessageStartEvent(message_id=reasoning_id)

    def _close(self) -> Iterator[agui.BaseEvent]:
        if self._open is None:
            return
        (kind, message_id), self._open = self._open, None
        if kind == "text":
            yield agui.TextMessageEndEvent(message_id=message_id)
        else:
            yield agui.ReasoningMessageEndEvent(message_id=f"{message_id}-reasoning")
            yield agui.ReasoningEndEvent(message_id=f"{message_id}-reasoning")

    def _call(self, call: ToolCall) -> Iterator[agui.BaseEvent]:
        yield from self._close()
        yield agui.ToolCallStartEvent(
            tool_call_id=call.call_id, tool_call_name=call.name, parent_message_id=call.message_id
        )
        yield agui.ToolCallArgsEvent(tool_call_id=call.call_id, delta=call.arguments)
        yield agui.ToolCallEndEvent(tool_call_id=call.call_id)

    def _result(self, result: ToolResult) -> Iterator[agui.BaseEvent]:
        if result.by_client:  # the client has it as a message of its own
            return
        yield from self._close()
        yield agui.ToolCallResultEvent(
            message_id=result.message_id, tool_call_id=result.call_id, content=result.text, role="tool"
        )

    def _end(self, ended: Ended) -> Iterator[agui.BaseEvent]:
        yield from self._close()
        if self._citations:
            yield agui.CustomEvent(name="citations", value=[asdict(citation) for citation in self._citations])
        if isinstance(ended.state, dict) and not ended.error:
            state = {name: value for name, value in ended.state.items() if name != "messages"}
            yield agui.StateSnapshotEvent(snapshot=state)
            if self._restarted:  # the client has the part of a message that was written again
                yield _messages_snapshot(ended.state.get("messages"))
        if ended.error and not ended.stopped:
            yield agui.RunErrorEvent(message=ended.error.get("message") or "", code=ended.error.get("error"))
            return
        yield agui.RunFinishedEvent(
            thread_id=self.thread_id, run_id=self.run_id, outcome=self._outcome(ended), usage=self._usage() or None
        )

    def _outcome(self, ended: Ended) -> agui.RunFinishedOutcome:
        if ended.stopped:
            return agui.RunFinishedCancelledOutcome()
        if self._interrupts:
            return agui.RunFinishedInterruptOutcome(
                interrupts=[_to_interrupt(interrupt) for interrupt in self._interrupts]
            )
        return agui.RunFinishedSuccessOutcome()

    def _usage(self) -> list[agui.TokenUsage]:
        return [
            agui.TokenUsage(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                total_tokens=usage.input_tokens + usage.output_tokens,
                cached_input_tokens=usage.cached_tokens,
                reasoning_tokens=usage.reasoning_tokens,
            )
            for usage in self._usages
        ]


def _to_interrupt(interrupt: Interrupt) -> agui.Interrupt:
    """Return a question, with the value that the graph asks with in its metadata."""
    value = interrupt.value
    asks_approval = isinstance(value, dict) and isinstance(value.get("action_requests"), list)
    return agui.Interrupt(
        id=interrupt.id,
        reason="confirmation" if asks_approval else "input_required",
        message=value if isinstance(value, str) else None,
        response_schema=_DECISIONS if asks_approval else None,
        metadata={"langgraph": {"raw": value}},
    )


def _messages_snapshot(messages: object) -> agui.MessagesSnapshotEvent:
    converted = (_to_message(message) for message in to_messages(messages))
    return agui.MessagesSnapshotEvent(messages=[message for message in converted if message])


def _to_message(message: Mapping[str, Any]) -> agui.Message | None:
    id_, text = message["id"], content_text(message["content"])
    match message["type"]:
        case "human":
            return agui.UserMessage(id=id_, content=text)
        case "system":
            return agui.SystemMessage(id=id_, content=text)
        case "ai":
            calls = [_to_call(call) for call in message["tool_calls"]]
            return agui.AssistantMessage(id=id_, content=text, tool_calls=calls or None)
        case "tool":
            return agui.ToolMessage(id=id_, content=text, tool_call_id=message["tool_call_id"])
    return None


def _to_call(call: Mapping[str, Any]) -> agui.ToolCall:
    arguments = dumps(call["args"]).decode()
    return agui.ToolCall(id=call["id"], function=agui.FunctionCall(name=call["name"], arguments=arguments))
