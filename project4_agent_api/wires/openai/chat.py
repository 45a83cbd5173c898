"""`/v1/chat/completions`: a run on a thread of its own, whose history comes with the request.

Tool calls of the server are not part of the answer, because clients would execute them; calls of the client's own tools
are. A tool that needs an approval is not called, and the completion states it, since this API has no way to ask.
`/v1/responses` has.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass, field
from time import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from project4_agent_api.core.json_route import JsonRoute
from project4_agent_api.core.serialization import dumps
from project4_agent_api.events.sse import event_stream, whole_json
from project4_agent_api.wires.client_tools import ClientCall
from project4_agent_api.wires.conversations import ConversationsDep, Run
from project4_agent_api.wires.items import Citation, Ended, Interrupt, Item, Reasoning, Text, Usage
from project4_agent_api.wires.openai.annotations import annotate
from project4_agent_api.wires.openai.approvals import describe
from project4_agent_api.wires.openai.errors import IGNORED_HEADER, encode_error, model_errors, run_error
from project4_agent_api.wires.openai.schemas import ChatRequest
from project4_agent_api.wires.openai.tools import require_client_tools

router = APIRouter(route_class=JsonRoute, prefix="/v1", tags=["openai"])

_DONE = b"data: [DONE]\n\n"
_NO_APPROVAL = "This is not possible in a chat completion: use /v1/responses, or a thread of LangGraph's API."


async def chat_run(body: ChatRequest, conversations: ConversationsDep) -> AsyncIterator[Run]:
    """Start the run of a request."""
    body.require_supported()
    context = body.context()
    async with AsyncExitStack() as stack:
        with model_errors():
            assistant_id = await conversations.resolve_assistant(body.model)
            await require_client_tools(conversations, assistant_id, context)
            run = {
                "assistant_id": str(assistant_id),
                "input": {"messages": [message.to_json() for message in body.messages]},
                "metadata": body.metadata,
                "context": context,
                "on_disconnect": "cancel",
            }
            started = await stack.enter_async_context(conversations.start(run))
        yield started


@router.post("/chat/completions", response_class=Response)
async def create_chat_completion(
    body: ChatRequest, run: Annotated[Run, Depends(chat_run)], request: Request
) -> Response:
    """Create a chat completion, whole or as a stream."""
    completion = Completion(f"chatcmpl-{run.key.run_id.hex}", int(time()), body.model, str(request.base_url))
    ignored = body.ignored()
    headers = {IGNORED_HEADER: ", ".join(ignored)} if ignored else {}
    if body.stream:
        with_usage = bool(body.stream_options and body.stream_options.include_usage)
        return event_stream(completion.stream(run, with_usage=with_usage), headers, encode_error)
    return whole_json(completion.whole(run), headers)


@dataclass
class Completion:
    """The answer of a run as one message.

    Attributes:
        content: The texts of the run's messages so far, with an empty line between two messages.
    """

    id: str
    created: int
    model: str
    base_url: str
    content: str = ""
    reasoning: str = ""
    tool_calls: list[dict[str, Any]] = field(default_factory=list)
    _message_id: str | None = None
    _citations: list[Citation] = field(default_factory=list)
    _usages: list[Usage] = field(default_factory=list)

    async def stream(self, run: Run, *, with_usage: bool) -> AsyncGenerator[bytes]:
        """Yield the chunks as server-sent events."""
        yield self._chunk({"role": "assistant", "content": ""})
        async with aclosing(run.items()) as items:
            async for item in items:
                if delta := self._add(item):
                    yield self._chunk(delta)
        if annotations := self._annotations():
            yield self._chunk({"annotations": annotations})
        yield self._chunk({}, finish_reason=self._finish_reason)
        if with_usage:
            yield self._encode({"choices": [], "usage": self._usage()})
        yield _DONE

    async def whole(self, run: Run) -> AsyncGenerator[bytes]:
        """Yield the completion."""
        async with aclosing(run.items()) as items:
            async for item in items:
                self._add(item)
        content = None if self.tool_calls and not self.content else self.content
        message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if annotations := self._annotations():
            message["annotations"] = annotations
        choice = {"index": 0, "message": message, "finish_reason": self._finish_reason, "logprobs": None}
        common = {"id": self.id, "object": "chat.completion", "created": self.created, "model": self.model}
        yield dumps(common | {"choices": [choice], "usage": self._usage()})

    def _add(self, item: Item) -> dict[str, Any]:
        """Add an item, and return the delta of the message."""
        match item:
            case Text(message_id, text):
                return {"content": self._add_text(message_id, text)}
            case Reasoning(_, text):
                self.reasoning += text
                return {"reasoning_content": text}
            case Citation():
                self._citations.append(item)
            case Usage():
                self._usages.append(item)
            case Interrupt() if call := ClientCall.from_interrupt(item):
                return {"tool_calls": [{"index": len(self.tool_calls), **self._add_call(call)}]}
            case Interrupt(id_, value):
                return {"content": self._add_text(id_, f"{describe(value)} {_NO_APPROVAL}")}
            case Ended(error, stopped) if error:
                raise run_error(error, stopped=stopped)
        return {}

    def _add_text(self, message_id: str, text: str) -> str:
        if self.content and message_id != self._message_id:
            text = "\n\n" + text
        self._message_id = message_id
        self.content += text
        return text

    def _add_call(self, call: ClientCall) -> dict[str, Any]:
        function = {"name": call.name, "arguments": call.arguments}
        self.tool_calls.append({"id": call.call_id, "type": "function", "function": function})
        return self.tool_calls[-1]

    @property
    def _finish_reason(self) -> str:
        return "tool_calls" if self.tool_calls else "stop"

    def _annotations(self) -> list[dict[str, Any]]:
        return [
            {
                "type": "url_citation",
                "url_citation": {
                    "start_index": annotation.start,
                    "end_index": annotation.end,
                    "title": annotation.title,
                    "url": annotation.url(self.base_url),
                },
            }
            for annotation in annotate(self.content, self._citations)
        ]

    def _usage(self) -> dict[str, Any]:
        prompt = sum(usage.input_tokens for usage in self._usages)
        completion = sum(usage.output_tokens for usage in self._usages)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": sum(usage.cached_tokens for usage in self._usages)},
            "completion_tokens_details": {"reasoning_tokens": sum(usage.reasoning_tokens for usage in self._usages)},
        }

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        return self._encode({"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]})

    def _encode(self, fields: dict[str, Any]) -> bytes:
        common = {"id": self.id, "object": "chat.completion.chunk", "created": self.created, "model": self.model}
        return b"data: " + dumps(common | fields) + b"\n\n"
