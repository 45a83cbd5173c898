"""The events of a run as typed items, which each wire writes in its own form.

The reader understands runs of any client: their messages come token by token (`messages-tuple`), growing
(`messages/partial`), or whole in the state (`values`), and the last state comes with the run's end.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from project4_agent_api.events.ids import END, Event
from project4_agent_api.models import RunStatus
from project4_agent_api.wires.messages import (
    client_tools,
    content_text,
    last_turn,
    reasoning_text,
    to_message,
    to_messages,
)

Json = Mapping[str, Any]
STOPPED = {"error": "Stopped", "message": "The run was stopped."}


@dataclass(frozen=True, slots=True)
class Started:
    """The first item of each attempt at a run. After the first attempt, an unfinished message is written again."""

    attempt: int

    @property
    def is_restart(self) -> bool:
        """Whether an attempt has failed before this one."""
        return self.attempt > 1


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of a message's text."""

    message_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A piece of the model's reasoning before a message."""

    message_id: str
    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool, with all of its arguments as JSON.

    Attributes:
        by_client: Whether the client executes it. Known of whole messages only.
    """

    message_id: str
    call_id: str
    name: str
    arguments: str
    by_client: bool = False


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The result of a tool call, as text.

    Attributes:
        by_client: Whether the client has executed it.
    """

    message_id: str
    call_id: str
    text: str
    failed: bool
    name: str
    by_client: bool = False


@dataclass(frozen=True, slots=True)
class Citation:
    """A passage that the answer cites with a marker such as `[1]`."""

    marker: int
    document_id: str
    filename: str
    page: int | None
    quote: str


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens of one call of a model."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int


@dataclass(frozen=True, slots=True)
class Interrupt:
    """A question of the graph that waits for an answer: the run continues with another one that resumes it."""

    id: str
    value: Any


@dataclass(frozen=True, slots=True)
class Ended:
    """The last item.

    Attributes:
        error: LangGraph's `error` and `message`; None if the run succeeded, also if it ended with a question.
        stopped: Whether it was stopped by a client.
        state: The state of the thread after it; None if it is too large to come with the events.
    """

    error: Json | None
    stopped: bool
    state: Any


Item = Started | Text | Reasoning | ToolCall | ToolResult | Citation | Usage | Interrupt | Ended


async def read_items(events: AsyncIterator[Event]) -> AsyncGenerator[Item]:
    """Convert the events of a run. The last item is always `Ended`, also for a failed run."""
    reader = _Reader()
    async for event in events:
        for item in reader.read(event):
            yield item
        if event.name == END:
            return
    for item in reader.end(b"error\n{}"):  # its thread was deleted, or its events have expired
        yield item


def read_state(before: Any, state: Any, interrupts: Iterable[Json]) -> Iterator[Item]:  # noqa: ANN401  any JSON
    """Convert a run's additions to the state of its thread, once its events have expired. There is no `Ended`.

    Args:
        before: The state before the run.
        state: The state after it.
        interrupts: Questions of the run.
    """
    reader = _Reader()
    yield from reader.state(before)
    reader.old = reader.old or set()
    yield from reader.state(state)
    yield from reader.citations(state.get("citations") if isinstance(state, dict) else None)
    for interrupt in interrupts:
        yield Interrupt(interrupt["id"], interrupt["value"])


@dataclass
class _Reader:
    """The state of a conversion.

    Attributes:
        written: The text of each message so far.
        seen: The ids of messages, calls, results and markers that need not be converted again.
        calls: The parts of unfinished tool calls, by message and index.
        current: The message that is streamed.
        waiting: The items of messages that are streamed at the same time, until it is their turn.
        old: The ids of the messages before the run, from the first state; None before it.
    """

    written: dict[str, str] = field(default_factory=dict)
    seen: set[object] = field(default_factory=set)
    calls: dict[tuple[str, object], dict[str, str]] = field(default_factory=dict)
    current: str | None = None
    waiting: dict[str, list[Item]] = field(default_factory=dict)
    old: set[str] | None = None
    error: Json | None = None

    def read(self, event: Event) -> Iterator[Item]:
        if event.name == END:
            yield from self.end(event.data)
        elif event.name == "metadata":
            yield from self._flush(unfinished_calls=False)
            yield Started(event.id.attempt)
        elif event.name == "error":
            self.error = orjson.loads(event.data)
        elif event.name == "messages":
            yield from self._read_message(_payload(event)[0])
        elif event.name in ("messages/partial", "messages/complete"):
            for message in orjson.loads(event.data):
                yield from self._read_message(message, growing=event.name == "messages/partial")
        elif event.name == "values":
            yield from self._flush()
            yield from self.state(_payload(event))

    def end(self, data: bytes) -> Iterator[Item]:
        """Convert the end: the status and the result of the run."""
        yield from self._flush()
        status, _, text = data.decode().partition("\n")
        state = orjson.loads(text) if text else None
        result = state if isinstance(state, dict) else {}
        if not self.written:  # nothing was streamed: the graph calls no model, or the client wanted no messages
            for message in last_turn(to_messages(result.get("messages")))[1:]:
                yield from self._message(message)
        yield from self.citations(result.get("citations"))
        interrupts = result.pop("__interrupt__", None) or ()
        for interrupt in interrupts:
            yield Interrupt(interrupt["id"], interrupt["value"])
        error = self.error or result.pop("__error__", None)
        stopped = status in (RunStatus.INTERRUPTED, "rollback", "deleted")
        failed = status != RunStatus.SUCCESS and not error
        yield Ended(error or (STOPPED if failed else None), stopped, state)

    def state(self, state: Any) -> Iterator[Item]:  # noqa: ANN401  any JSON
        """Convert the messages of a state that were not streamed."""
        if not isinstance(state, dict) or not isinstance(state.get("messages"), list):
            return
        messages = to_messages(state["messages"])
        if self.old is None:
            self.old = {message["id"] for message in messages}
            return
        for message in messages:
            if message["id"] not in self.old:
                yield from self._message(message)

    def _read_message(self, value: object, *, growing: bool = False) -> Iterator[Item]:
        if message := to_message(value):
            yield from self._message(message, growing=growing)

    def _message(self, message: Json, *, growing: bool = False) -> Iterator[Item]:
        match message["type"]:
            case "AIMessageChunk":
                yield from self._in_turn(message)
            case "ai":
                yield from self._flush()
                yield from self._whole(message, growing=growing)
            case "tool":
                yield from self._flush()
                yield from self._result(message)

    def _in_turn(self, chunk: Json) -> Iterator[Item]:
        """Convert a piece of a message. Nodes may stream at the same time: their messages follow one another."""
        message_id, items = chunk["id"], list(self._chunk(chunk))
        if self.current not in (None, message_id):
            self.waiting.setdefault(message_id, []).extend(items)
            return
        self.current = message_id
        yield from items
        while self.current in self.seen:  # it is complete
            self.current = next(iter(self.waiting), None)
            yield from self.waiting.pop(self.current or "", ())

    def _flush(self, *, unfinished_calls: bool = True) -> Iterator[Item]:
        """Yield what waits: no message is streamed any more."""
        self.current = None
        for items in self.waiting.values():
            yield from items
        self.waiting.clear()
        for message_id in {message_id for message_id, _ in self.calls} if unfinished_calls else ():
            yield from self._finish_calls(message_id)
        self.calls.clear()

    def _chunk(self, chunk: Json) -> Iterator[Item]:
        message_id = chunk["id"]
        yield from self._add(message_id, content_text(chunk["content"]), reasoning_text(chunk))
        for part in chunk["tool_call_chunks"]:
            key = part.get("index") if part.get("index") is not None else part.get("id")
            call = self.calls.setdefault((message_id, key), {"id": "", "name": "", "args": ""})
            for name in call:
                call[name] += part.get(name) or ""
        if usage := chunk["usage_metadata"]:  # of this piece
            self.seen.add(("usage", message_id))
            yield _to_usage(usage)
        if chunk.get("chunk_position") == "last":
            yield from self._finish_calls(message_id)
            self.seen.add(message_id)

    def _whole(self, message: Json, *, growing: bool) -> Iterator[Item]:
        """Convert a message so far: the part that was not converted yet. The calls of one that grows are incomplete."""
        message_id, written = message["id"], self.written.get(message["id"], "")
        text = content_text(message["content"])
        if text.startswith(written):
            first = message_id not in self.written
            yield from self._add(message_id, text[len(written) :], reasoning_text(message) if first else "")
        for call in () if growing else message["tool_calls"]:
            arguments, by_client = orjson.dumps(call["args"]).decode(), call["name"] in client_tools(message)
            yield from self._call(ToolCall(message_id, call["id"], call["name"], arguments, by_client))
        usage = message["usage_metadata"]
        if usage and ("usage", message_id) not in self.seen:
            self.seen.add(("usage", message_id))
            yield _to_usage(usage)

    def _add(self, message_id: str, text: str, reasoning: str) -> Iterator[Item]:
        self.written[message_id] = self.written.get(message_id, "") + text
        if reasoning:
            yield Reasoning(message_id, reasoning)
        if text:
            yield Text(message_id, text)

    def _finish_calls(self, message_id: str) -> Iterator[Item]:
        for key in [key for key in self.calls if key[0] == message_id]:
            call = self.calls.pop(key)
            yield from self._call(ToolCall(message_id, call["id"], call["name"], call["args"] or "{}"))

    def _call(self, call: ToolCall) -> Iterator[Item]:
        if call.name and ("call", call.call_id) not in self.seen:
            self.seen.add(("call", call.call_id))
            yield call

    def _result(self, message: Json) -> Iterator[Item]:
        if message["id"] in self.seen:
            return
        self.seen.add(message["id"])
        failed = message.get("status") == "error"
        text = content_text(message["content"])
        name, by_client = message["name"], bool(client_tools(message))
        yield ToolResult(message["id"], message["tool_call_id"], text, failed, name, by_client)
        yield from self.citations(message["artifact"].get("citations"))

    def citations(self, found: object) -> Iterator[Item]:
        for citation in found if isinstance(found, list) else ():
            match citation:
                case {"marker": int(marker), "document_id": str(document_id), "filename": str(filename)}:
                    page, quote = citation.get("page"), citation.get("quote") or ""
                    if ("citation", marker, quote) not in self.seen:
                        self.seen.add(("citation", marker, quote))
                        yield Citation(marker, document_id, filename, page, quote)


def _to_usage(usage: Json) -> Usage:
    return Usage(
        _count(usage, "input_tokens"),
        _count(usage, "output_tokens"),
        _count(usage.get("input_token_details"), "cache_read"),
        _count(usage.get("output_token_details"), "reasoning"),
    )


def _count(counts: object, name: str) -> int:
    count = counts.get(name) if isinstance(counts, dict) else None
    return count if isinstance(count, int) else 0


def _payload(event: Event) -> Any:  # noqa: ANN401  any JSON
    """Return the data of an event; those of a run of the streaming protocol are in a frame."""
    data = orjson.loads(event.data)
    is_frame = isinstance(data, dict) and data.get("type") == "event" and "params" in data
    return data["params"]["data"] if is_frame else data
