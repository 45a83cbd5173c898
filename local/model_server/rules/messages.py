"""Texts of OpenAI chat messages."""

from collections.abc import Mapping, Sequence
from typing import Any

Message = Mapping[str, Any]


def message_text(message: Message) -> str:
    """Return the text of a message without other parts (images, audio)."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    parts = [part if isinstance(part, str) else part.get("text") for part in content if isinstance(part, str | Mapping)]
    return "\n".join(part for part in parts if isinstance(part, str))


def last_user_text(messages: Sequence[Message]) -> str:
    """Return the text of the last user message, or an empty string."""
    return next((message_text(message) for message in reversed(messages) if message.get("role") == "user"), "")


def system_text(messages: Sequence[Message]) -> str:
    """Return the joined texts of the system and developer messages."""
    return "\n\n".join(message_text(message) for message in messages if message.get("role") in {"system", "developer"})
