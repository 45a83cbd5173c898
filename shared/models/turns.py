"""Send conversations in a form that every endpoint accepts.

OpenAI's endpoint takes messages in nearly any order. Others render them with a model's chat template, which refuses a
system message after the first, two messages of the user in a row, the user after a tool's result (Mistral), or tool
calls that follow another answer (Gemini). The sources are in `docs/models.md`.
"""

import hashlib
import re
from collections.abc import Sequence
from itertools import chain, groupby
from operator import itemgetter
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
    system = [message for message in messages if message["role"] in ("system", "developer")]
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
    joined = _joined(system)
    for role, group in groupby(turns, itemgetter("role")):
        neighbours = list(group)
        joined += _joined(neighbours) if role in ("user", "assistant") else neighbours
    return joined


def _add_user(turns: list[Message], message: Message) -> None:
    if turns and turns[-1]["role"] == "tool":
        turns.append({"role": "assistant", "content": _NO_ANSWER})
    turns.append(message if message["content"] else message | {"content": _NO_TEXT})


def _add_assistant(turns: list[Message], message: Message) -> None:
    if not message.get("content"):
        if not message.get("tool_calls") and not message.get("refusal"):
            return
        message = message | {"content": None}
    if not turns:
        turns.append({"role": "user", "content": _BEGINNING})
    turns.append(message)


def _joined(messages: Sequence[Message]) -> list[Message]:
    """Join messages of one role, without empty ones; the fields of later ones win."""
    messages = [message for message in messages if any(map(message.get, ("content", "tool_calls", "refusal")))]
    if len(messages) < 2:
        return messages
    contents = [message["content"] for message in messages if message.get("content")]
    fields = dict(chain.from_iterable(message.items() for message in messages))
    return [fields | {"content": _join(contents)}]


def _join(contents: Sequence[Any]) -> Any:  # noqa: ANN401  text, a list of parts, or None
    if all(isinstance(content, str) for content in contents):
        return "\n\n".join(contents) or None
    return [part for content in contents for part in _parts(content)]


def _parts(content: Any) -> list[Any]:  # noqa: ANN401  text, or a list of parts
    return [{"type": "text", "text": content}] if isinstance(content, str) else content
