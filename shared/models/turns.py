"""Send conversations in a form that every endpoint accepts.

OpenAI's endpoint takes messages in nearly any order. Others render them with a model's chat template, which refuses a
system message after the first, two messages of the user in a row, the user after a tool's result (Mistral), or tool
calls that follow another answer (Gemini). The sources are in `docs/models.md`.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]

_PORTABLE_ID = re.compile("[a-zA-Z0-9]{9}")  # Mistral takes exactly this form, the others any
_NO_TEXT = "(no text)"
_BEGINNING = "(The beginning of the conversation is missing.)"
_NO_ANSWER = "I was stopped before I could answer."
_GO_ON = "Continue."


def use_portable_ids(messages: Sequence[Message]) -> None:
    """Replace ids of tool calls that an endpoint may refuse, the same one always by the same; changes the messages."""
    for message in messages:
        for call in message.get("tool_calls") or []:
            call["id"] = _portable(call["id"])
        if "tool_call_id" in message:
            message["tool_call_id"] = _portable(message["tool_call_id"])


def _portable(call_id: object) -> str:
    text = str(call_id)
    return text if _PORTABLE_ID.fullmatch(text) else hashlib.sha256(text.encode()).hexdigest()[:9]


def in_turns(messages: Sequence[Message]) -> list[Message]:
    """Return the messages of a request with one system message, and user and assistant in turns.

    Neighbouring messages of one role are joined. A short text fills a missing turn.
    """
    system = _joined([message for message in messages if message["role"] in ("system", "developer")])
    turns: list[Message] = []
    for message in messages:
        if message["role"] == "user":
            _add_user(turns, message)
        elif message["role"] == "assistant":
            _add_assistant(turns, message)
        elif message["role"] not in ("system", "developer"):
            turns.append(message)
    if not turns or turns[-1]["role"] == "assistant":
        turns.append({"role": "user", "content": _GO_ON})
    return [*system, *turns]


def _add_user(turns: list[Message], message: Message) -> None:
    message = message if message["content"] else message | {"content": _NO_TEXT}
    if turns and turns[-1]["role"] == "user":
        turns[-1:] = _joined([turns[-1], message])
        return
    if turns and turns[-1]["role"] == "tool":
        turns.append({"role": "assistant", "content": _NO_ANSWER})
    turns.append(message)


def _add_assistant(turns: list[Message], message: Message) -> None:
    calls = message.get("tool_calls")
    if not message.get("content"):
        if not calls and not message.get("refusal"):
            return
        message = message | {"content": None}
    if not turns:
        turns.append({"role": "user", "content": _BEGINNING})
    if turns[-1]["role"] == "assistant":
        turns[-1:] = _joined([turns[-1], message])
    else:
        turns.append(message)


def _joined(messages: Sequence[Message]) -> list[Message]:
    """Join messages of one role; the fields of later ones win."""
    joined: list[Message] = []
    for message in messages:
        if joined:
            message = joined[0] | message | {"content": _join(joined[0].get("content"), message.get("content"))}  # noqa: PLW2901  the same, longer
        if message.get("content") or message.get("tool_calls") or message.get("refusal"):
            joined = [message]
    return joined


def _join(first: Any, second: Any) -> Any:  # noqa: ANN401  text, a list of parts, or None
    if not first or not second:
        return first or second
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    return [*_parts(first), *_parts(second)]


def _parts(content: Any) -> list[Any]:  # noqa: ANN401  text, or a list of parts
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
