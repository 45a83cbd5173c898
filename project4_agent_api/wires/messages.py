"""Messages in a graph's state, in LangChain's form or in OpenAI's: a graph may store anything under `messages`."""

from collections.abc import Mapping, Sequence
from typing import Any

from project4_agent_api.agents.client_tools import CLIENT_TOOLS
from shared.models.provider_fields import REASONING

Json = Mapping[str, Any]

_TYPES = {"user": "human", "assistant": "ai", "developer": "system"}


def to_message(value: object) -> Json | None:
    """Return a message in LangChain's form with its well-formed parts only; None without a type and an id."""
    if not isinstance(value, dict) or not isinstance(value.get("id"), str):
        return None
    kind = value.get("type") or value.get("role")
    if not isinstance(kind, str):
        return None
    calls = [call for call in _objects(value.get("tool_calls")) if isinstance(call.get("name"), str)]
    name, call_id = value.get("name"), value.get("tool_call_id")
    return value | {
        "type": _TYPES.get(kind, kind),
        "content": value.get("content"),
        "name": name if isinstance(name, str) else "",
        "tool_calls": [call | {"id": str(call.get("id") or ""), "args": call.get("args") or {}} for call in calls],
        "tool_call_chunks": _objects(value.get("tool_call_chunks")),
        "tool_call_id": call_id if isinstance(call_id, str) else "",
        "usage_metadata": _object(value.get("usage_metadata")),
        "additional_kwargs": _object(value.get("additional_kwargs")),
        "artifact": _object(value.get("artifact")),
    }


def to_messages(values: object) -> list[Json]:
    """Return the messages of a list; none if it is none."""
    return [message for value in (values if isinstance(values, list) else ()) if (message := to_message(value))]


def last_turn(messages: Sequence[Json]) -> Sequence[Json]:
    """Return the last message of the user, and those after it; none without one."""
    human = [position for position, message in enumerate(messages) if message["type"] == "human"]
    return messages[human[-1] :] if human else ()


def content_text(content: object) -> str:
    """Return the text of a message's content: a text, or blocks of which some are text."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else ()
    texts = (
        block.get("text") if isinstance(block, dict) and block.get("type") == "text" else block for block in blocks
    )
    return "".join(text for text in texts if isinstance(text, str))


def reasoning_text(message: Json) -> str:
    """Return the model's reasoning before a message, from its own field or from blocks of the content."""
    apart = message["additional_kwargs"].get(REASONING)
    if isinstance(apart, str) and apart:
        return apart
    blocks = (block for block in _objects(message["content"]) if block.get("type") == "reasoning")
    return "".join(text for block in blocks if isinstance(text := block.get("reasoning"), str))


def client_tools(message: Json) -> Sequence[str]:
    """Return the names of the client's tools that a message calls, or whose result it is."""
    names = message["additional_kwargs"].get(CLIENT_TOOLS)
    return names if isinstance(names, list) else ()


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(values: object) -> list[dict[str, Any]]:
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
