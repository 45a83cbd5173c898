"""Answers of the rules in OpenAI's format."""

import json
import re
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

from local.model_server.rules import MODEL, RulesReply


def completion(reply: RulesReply, usage: dict[str, int]) -> dict[str, Any]:
    """Return the body of a complete answer.

    Args:
        reply: The answer of the rules.
        usage: `prompt_tokens`, `completion_tokens`, `total_tokens`.
    """
    message: dict[str, Any] = {"role": "assistant", "content": reply.content}
    if reply.tool_calls:
        message["tool_calls"] = _tool_calls(reply)
    choice = {"index": 0, "message": message, "finish_reason": _finish_reason(reply)}
    return _envelope("chat.completion") | {"choices": [choice], "usage": usage}


async def completion_events(reply: RulesReply, usage: dict[str, int], *, include_usage: bool) -> AsyncIterator[bytes]:
    """Yield an answer as server-sent events: text word by word, tool calls in one chunk.

    Args:
        reply: The answer of the rules.
        usage: See `completion`.
        include_usage: Whether to send the usage in an additional chunk.
    """
    envelope = _envelope("chat.completion.chunk")
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": "" if reply.content else None}]
    deltas += [{"content": piece} for piece in re.findall(r"\s*\S+\s*?|\s+$", reply.content or "")]
    if reply.tool_calls:
        deltas.append({"tool_calls": [{"index": i} | call for i, call in enumerate(_tool_calls(reply))]})
    for delta in deltas:
        yield sse_event(envelope | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    yield sse_event(envelope | {"choices": [{"index": 0, "delta": {}, "finish_reason": _finish_reason(reply)}]})
    if include_usage:
        yield sse_event(envelope | {"choices": [], "usage": usage})
    yield b"data: [DONE]\n\n"


def _envelope(kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": MODEL}


def _tool_calls(reply: RulesReply) -> list[dict[str, Any]]:
    return [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in reply.tool_calls
    ]


def _finish_reason(reply: RulesReply) -> str:
    return "tool_calls" if reply.tool_calls else "stop"


def sse_event(chunk: dict[str, Any]) -> bytes:
    """Return a chunk as a server-sent event."""
    return b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"
