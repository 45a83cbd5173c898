"""Send each message in a form that every endpoint accepts: its role, its names and the parts of its content.

Clients write messages into threads, and graphs make them: in the forms of other providers, or of OpenAI's older
functions. One part that an endpoint does not know would make it refuse every later message of the thread.
"""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

Message = dict[str, Any]

_ROLES = {"developer": "system"}
_KNOWN_ROLES = ("system", "user", "assistant", "tool")
_NOT_IN_NAMES = re.compile("[^a-zA-Z0-9_-]")  # OpenAI's pattern
_MAX_NAME = 64
_MEDIA = ("image", "image_url", "input_audio", "audio", "video", "file")
_USER_PARTS = ("text", "image_url", "input_audio", "file")


def acceptable(messages: Sequence[Message], *, with_names: bool) -> list[Message]:
    """Return the messages with known roles, valid names, and parts of content that their roles may have.

    Args:
        with_names: Whether the endpoint takes the names of the messages' authors.
    """
    return [_acceptable(message, with_names) for message in messages]


def _acceptable(message: Message, with_names: bool) -> Message:
    message = dict(message)
    role = message["role"]
    if role == "function":  # OpenAI's older form of a result; its call has no place for an id
        role, message["content"] = "user", f"Result of {message.pop('name', 'a function')}: {message['content']}"
    role = _ROLES.get(role, role)
    message["role"] = role if role in _KNOWN_ROLES else "user"
    message.pop("function_call", None)
    name = message.pop("name", None)
    if name and with_names:
        message["name"] = _name(name)
    if calls := message.get("tool_calls"):
        message["tool_calls"] = [_with_valid_name(call) for call in calls]
    if isinstance(content := message["content"], list):
        message["content"] = list(_parts(content, message["role"]))
    return message


def _with_valid_name(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return call | {"function": function | {"name": _name(function["name"])}}


def _name(name: object) -> str:
    return _NOT_IN_NAMES.sub("_", str(name))[:_MAX_NAME] or "unknown"


def _parts(content: Sequence[Any], role: str) -> Iterator[dict[str, Any]]:
    """Yield the parts of a message: of the user's any that endpoints take, otherwise texts."""
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        text = part if isinstance(part, str) else part.get("text") if kind == "text" else None
        if isinstance(text, str):
            if text:
                yield {"type": "text", "text": text}
        elif role == "user" and kind in _USER_PARTS:
            yield part
        elif kind in _MEDIA:
            yield {"type": "text", "text": f"({kind}: cannot be shown here)"}
        elif role == "tool":
            yield {"type": "text", "text": json.dumps(part, ensure_ascii=False, default=str)}
