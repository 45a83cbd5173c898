"""A response of OpenAI's API, and the events that stream it, built from the items of a run.

The tools of an assistant are called by the server: their calls are `mcp_call` items, with the assistant as the server.
Calls of the client's tools are questions, and their results a part of the next request.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

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
from project4_agent_api.wires.openai.annotations import annotate
from project4_agent_api.wires.openai.approvals import function_call, question_items
from project4_agent_api.wires.openai.errors import run_error

Json = dict[str, Any]
_SERVER_ERROR = 500


@dataclass
class ResponseBuilder:
    """A response that grows with the items of its run.

    Attributes:
        response: The response, without its output. Its `tools` are the client's.
    """

    response: dict[str, Any]
    _output: list[dict[str, Any]] = field(default_factory=list)
    _calls: dict[str, int] = field(default_factory=dict)
    _client_calls: dict[str, ClientCall] = field(default_factory=dict)
    _open: tuple[str, str] | None = None  # the kind and the message's id of the last item, while it grows
    _citations: list[Citation] = field(default_factory=list)
    _usages: list[Usage] = field(default_factory=list)
    _number: int = -1

    def begin(self) -> Iterator[Json]:
        """Yield the first events."""
        yield self._event("response.created", response=self.snapshot())
        yield self._event("response.in_progress", response=self.snapshot())

    def add(self, item: Item) -> Iterator[Json]:
        """Add an item, and yield its events."""
        match item:
            case Started() if item.is_restart:
                yield from self._close("incomplete")
            case Text() | Reasoning():
                yield from self._write(item)
            case ToolCall() | ToolResult() if item.by_client or item.name in self._client_tools:
                self._note_client_call(item)
            case ToolCall():
                yield from self._call(item)
            case ToolResult():
                yield from self._result(item)
            case Citation():
                self._citations.append(item)
            case Usage():
                self._usages.append(item)
            case Interrupt():
                yield from self._ask(item)
            case Ended(error, stopped):
                yield from self._end(error, stopped=stopped)

    def complete_output(self) -> list[Json]:
        """Return the output, once there are no more items."""
        for _ in (*self._close(), *self._ask_client()):
            pass
        return self._output

    def snapshot(self) -> dict[str, Any]:
        """Return the response so far."""
        return self.response | {"output": [dict(item) for item in self._output]}

    @property
    def _client_tools(self) -> set[str]:
        return {tool["name"] for tool in self.response.get("tools", ())}

    def _note_client_call(self, item: ToolCall | ToolResult) -> None:
        """Keep a whole call until the end, unless it was refused; an open question repeats it."""
        if isinstance(item, ToolCall) and item.by_client:
            self._client_calls[item.call_id] = ClientCall(item.call_id, item.name, item.arguments)
        elif isinstance(item, ToolResult) and not item.by_client:
            self._client_calls.pop(item.call_id, None)

    def _write(self, item: Text | Reasoning) -> Iterator[Json]:
        if isinstance(item, Text):
            yield from self._open_item("message", item.message_id)
            self._output[-1]["content"][0]["text"] += item.text
            yield self._in_item("response.output_text.delta", content_index=0, delta=item.text, logprobs=[])
        else:
            yield from self._open_item("reasoning", item.message_id)
            self._output[-1]["summary"][0]["text"] += item.text
            yield self._in_item("response.reasoning_summary_text.delta", summary_index=0, delta=item.text)

    def _ask(self, interrupt: Interrupt) -> Iterator[Json]:
        yield from self._close()
        if call := ClientCall.from_interrupt(interrupt):
            self._client_calls[call.call_id] = call
            return
        for question in question_items(interrupt, self.response["model"]):
            if question["type"] == "function_call":
                yield from self._ask_function(question)
                continue
            self._output.append(question)
            yield self._in_item("response.output_item.added", item=question)
            yield self._in_item("response.output_item.done", item=question)

    def _ask_client(self) -> Iterator[Json]:
        """Add the calls of the client's tools: those that wait for a result, or have got one since then."""
        for call in self._client_calls.values():
            yield from self._ask_function(function_call(call))
        self._client_calls.clear()

    def _ask_function(self, item: Json) -> Iterator[Json]:
        self._output.append(item)
        yield self._in_item("response.output_item.added", item=item | {"arguments": "", "status": "in_progress"})
        yield self._in_item("response.function_call_arguments.delta", delta=item["arguments"])
        yield self._in_item("response.function_call_arguments.done", name=item["name"], arguments=item["arguments"])
        yield self._in_item("response.output_item.done", item=item)

    def _end(self, error: Mapping[str, Any] | None, *, stopped: bool) -> Iterator[Json]:
        yield from self._close("incomplete" if error else "completed")
        yield from self._ask_client()
        for index in self._calls.values():  # they wait for an approval, or the run has failed
            self._output[index]["status"] = "incomplete"
            yield self._in_item("response.output_item.done", index, item=self._output[index])
        self.response["usage"] = self._usage()
        if error is None:
            self.response["status"] = "completed"
            yield self._event("response.completed", response=self.snapshot())
        elif stopped:
            self.response["status"] = "cancelled"
            yield self._event("response.incomplete", response=self.snapshot())
        else:
            failure = run_error(error, stopped=False)
            code = "server_error" if failure.status >= _SERVER_ERROR else "invalid_prompt"
            self.response |= {"status": "failed", "error": {"code": code, "message": failure.detail}}
            yield self._event("response.failed", response=self.snapshot())

    def _open_item(self, kind: str, message_id: str) -> Iterator[Json]:
        """Open the item of a message's text or reasoning, unless it is open already."""
        if self._open == (kind, message_id):
            return
        yield from self._close()
        self._open = kind, message_id
        if kind == "message":
            part: Json = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
            item: Json = {"type": kind, "id": f"msg_{message_id}", "role": "assistant", "status": "in_progress"}
            parts, place, added = "content", "content_index", "response.content_part.added"
        else:
            part = {"type": "summary_text", "text": ""}
            item = {"type": kind, "id": f"rs_{message_id}"}
            parts, place, added = "summary", "summary_index", "response.reasoning_summary_part.added"
        self._output.append(item)
        yield self._in_item("response.output_item.added", item=item | {parts: []})
        item[parts] = [part]
        yield self._in_item(added, part=dict(part), **{place: 0})

    def _close(self, status: str = "completed") -> Iterator[Json]:
        """Complete the item that is open."""
        if self._open is None:
            return
        (kind, _), item = self._open, self._output[-1]
        self._open = None
        if kind == "message":
            part = item["content"][0]
            for position, annotation in enumerate(annotate(part["text"], self._citations)):
                cited = annotation.citation
                given = {"file_id": cited.document_id, "filename": cited.filename, "index": annotation.start}
                part["annotations"].append({"type": "file_citation", **given})
                added = {"annotation": part["annotations"][-1], "annotation_index": position, "content_index": 0}
                yield self._in_item("response.output_text.annotation.added", **added)
            item["status"] = status
            yield self._in_item("response.output_text.done", text=part["text"], content_index=0, logprobs=[])
            yield self._in_item("response.content_part.done", part=part, content_index=0)
        else:
            part = item["summary"][0]
            yield self._in_item("response.reasoning_summary_text.done", text=part["text"], summary_index=0)
            yield self._in_item("response.reasoning_summary_part.done", part=part, summary_index=0)
        yield self._in_item("response.output_item.done", item=item)

    def _call(self, call: ToolCall) -> Iterator[Json]:
        yield from self._close()
        item = {
            "type": "mcp_call",
            "id": f"mcp_{call.call_id}",
            "server_label": self.response["model"],
            "name": call.name,
            "arguments": call.arguments,
            "status": "in_progress",
            "output": None,
            "error": None,
        }
        self._calls[call.call_id] = len(self._output)
        self._output.append(item)
        yield self._in_item("response.output_item.added", item=item | {"arguments": ""})
        yield self._in_item("response.mcp_call.in_progress")
        yield self._in_item("response.mcp_call_arguments.delta", delta=call.arguments)
        yield self._in_item("response.mcp_call_arguments.done", arguments=call.arguments)

    def _result(self, result: ToolResult) -> Iterator[Json]:
        if result.call_id not in self._calls:  # it was called by an earlier run, and approved since then
            yield from self._call(ToolCall(result.message_id, result.call_id, result.name, "{}"))
        index = self._calls.pop(result.call_id)
        item = self._output[index]
        if result.failed:
            item |= {
                "status": "failed",
                "error": {"type": "mcp_tool_execution_error", "content": result.text},
            }
        else:
            item |= {"status": "completed", "output": result.text}
        ended = "response.mcp_call.failed" if result.failed else "response.mcp_call.completed"
        yield self._in_item(ended, index)
        yield self._in_item("response.output_item.done", index, item=item)

    def _usage(self) -> dict[str, Any]:
        total_in = sum(usage.input_tokens for usage in self._usages)
        total_out = sum(usage.output_tokens for usage in self._usages)
        return {
            "input_tokens": total_in,
            "input_tokens_details": {
                "cached_tokens": sum(usage.cached_tokens for usage in self._usages),
                "cache_write_tokens": 0,
            },
            "output_tokens": total_out,
            "output_tokens_details": {"reasoning_tokens": sum(usage.reasoning_tokens for usage in self._usages)},
            "total_tokens": total_in + total_out,
        }

    def _in_item(self, type_: str, index: int | None = None, **fields: Any) -> Json:
        index = len(self._output) - 1 if index is None else index
        named = {} if "item" in fields else {"item_id": self._output[index]["id"]}
        return self._event(type_, output_index=index, **named, **fields)

    def _event(self, type_: str, **fields: Any) -> Json:
        self._number += 1
        return {"type": type_, "sequence_number": self._number, **fields}
