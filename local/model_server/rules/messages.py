"""Reading OpenAI's chat messages."""

from collections.abc import Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]


def text_of(message: Message) -> str:
    """Return a message's text; parts that are not text (images, audio) are left out."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    parts = [part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, str | Mapping)]
    return "\n".join(part for part in parts if isinstance(part, str))


def last_user_text(messages: Sequence[Message]) -> str:
    """Return the last user message's text, or nothing."""
    return next((text_of(message) for message in reversed(messages) if message.get("role") == "user"), "")


def system_text(messages: Sequence[Message]) -> str:
    """Return the texts of the system and developer messages, one after the other."""
    return "\n\n".join(text_of(message) for message in messages if message.get("role") in {"system", "developer"})
