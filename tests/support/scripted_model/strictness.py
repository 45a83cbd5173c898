"""Rules for requests that real endpoints refuse. `profiles.py` says which endpoint has which, and from what source.

A rule reads the body of a request for a chat completion, and yields a `Violation` for each fault, with the words of the
endpoint that is known for it.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]
Message = dict[str, Any]

_CONTENT_TYPES = {
    "system": {"text"},
    "developer": {"text"},
    "user": {"text", "image_url", "input_audio", "file"},
    "assistant": {"text", "refusal"},
    "tool": {"text"},
}
_NAME = re.compile(r"[a-zA-Z0-9_-]+")


@dataclass(frozen=True)
class Violation:
    """A fault that an endpoint refuses.

    Attributes:
        message: The endpoint's own words.
        param: Path of the field in the request, as OpenAI writes it.
        code: The error's code; None where the endpoint has none.
        type: The error's type, if it is not the endpoint's usual one.
        status: Status of the response, if it is not 400.
    """

    message: str
    param: str | None = None
    code: str | None = None
    type: str | None = None
    status: int = 400

    def __str__(self) -> str:
        return f"{self.param}: {self.message}" if self.param else self.message


Rule = Callable[[Body], Iterator[Violation]]


def calls_of(message: Message) -> list[dict[str, Any]]:
    """Return an assistant message's tool calls."""
    calls: list[dict[str, Any]] = (message.get("role") == "assistant" and message.get("tool_calls")) or []
    return calls


def text_of(message: Message) -> str:
    """Return a message's text, of all its parts."""
    content = message.get("content") or ""
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def forbidden_field(*place: object) -> Violation:
    """Return the violation of a field that Pydantic forbids."""
    return Violation(
        "Extra inputs are not permitted", "/".join(map(str, ("body", *place))), "extra_forbidden", status=422
    )


def wrong_pattern(where: str) -> Violation:
    """Return the violation of a name that does not match OpenAI's pattern."""
    words = "string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'."
    return Violation(f"Invalid '{where}': {words}", where, "invalid_value")


def unknown_parameter(where: str) -> Violation:
    """Return the violation of a field that OpenAI does not know."""
    return Violation(f"Unknown parameter: '{where}'.", where, "unknown_parameter")


# ---------------------------------------------------------------------------------------------- tool calls and results


def tool_results_follow_their_calls(body: Body) -> Iterator[Violation]:
    """Require exactly one result for each call, directly after the message with the calls."""
    open_ids: list[str] = []
    answered: dict[str, int] = {}
    in_results = False
    for place, message in enumerate(body["messages"]):
        where = f"messages.[{place}]"
        if message.get("role") == "tool":
            call_id = message.get("tool_call_id")
            if not in_results:
                yield Violation(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                    "'tool_calls'.",
                    f"{where}.role",
                )
            elif call_id in open_ids:
                open_ids.remove(call_id)
                answered[call_id] = place
            elif call_id in answered:
                yield Violation(
                    f"Invalid parameter: Duplicate value for 'tool_call_id' of '{call_id}', in "
                    f"messages[{answered[call_id]}] and messages[{place}].",
                    f"{where}.tool_call_id",
                )
            else:
                yield Violation(
                    f"Invalid parameter: 'tool_call_id' of '{call_id}' not found in 'tool_calls' of previous message.",
                    f"{where}.tool_call_id",
                )
            continue
        if open_ids:
            yield _unanswered(open_ids, where)
        open_ids, answered = [call.get("id") or "" for call in calls_of(message)], {}
        in_results = bool(open_ids)
    if open_ids:
        yield _unanswered(open_ids, f"messages.[{len(body['messages'])}]")


def _unanswered(call_ids: list[str], where: str) -> Violation:
    return Violation(
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(call_ids)}",
        f"{where}.role",
    )


def call_ids_are_unique_strings(body: Body) -> Iterator[Violation]:
    """Require ids that are strings of 1 to 40 characters, unique within a message."""
    for place, message in enumerate(body["messages"]):
        seen: set[str] = set()
        for number, call in enumerate(calls_of(message)):
            where = f"messages[{place}].tool_calls[{number}].id"
            call_id = call.get("id")
            if not isinstance(call_id, str):
                kind = "null" if call_id is None else type(call_id).__name__
                yield Violation(f"Invalid type for '{where}': expected a string, but got {kind} instead.", where)
            elif not call_id:
                words = "empty string. Expected a string with minimum length 1, but got an empty string instead."
                yield Violation(f"Invalid '{where}': {words}", where, "empty_string")
            elif len(call_id) > 40:
                words = "string too long. Expected a string with maximum length 40, but got a string with length"
                yield Violation(f"Invalid '{where}': {words} {len(call_id)} instead.", where, "string_above_max_length")
            elif call_id in seen:
                yield Violation(f"Duplicate value for 'id' of '{call_id}' in messages[{place}].tool_calls.", where)
            else:
                seen.add(call_id)


def call_ids_are_unique_in_the_thread(body: Body) -> Iterator[Violation]:
    """Require that no two calls of a conversation have one id."""
    ids = [call.get("id") for message in body["messages"] for call in calls_of(message)]
    for call_id in dict.fromkeys(call_id for call_id in ids if ids.count(call_id) > 1):
        yield Violation(f"Duplicate tool call id {call_id!r} in the conversation.", "messages")


def call_ids_match(pattern: str, words: str, **more: Any) -> Rule:
    """Require ids of a form; `words` is the error, with the id as `{}`."""

    def rule(body: Body) -> Iterator[Violation]:
        for message in body["messages"]:
            for call in calls_of(message):
                if not re.fullmatch(pattern, str(call.get("id"))):
                    yield Violation(words.format(call.get("id")), **more)

    return rule


def calls_are_functions(body: Body) -> Iterator[Violation]:
    """Require the type, name and arguments of each call, and nothing else but its id and `extra_content`."""
    for place, message in enumerate(body["messages"]):
        for number, call in enumerate(calls_of(message)):
            where = f"messages[{place}].tool_calls[{number}]"
            function = call.get("function")
            if call.get("type") != "function" or not isinstance(function, dict):
                yield Violation(f"Missing required parameter: '{where}.function'.", where, "missing_required_parameter")
                continue
            if not _NAME.fullmatch(str(function.get("name") or "")):
                yield wrong_pattern(f"{where}.function.name")
            if not isinstance(function.get("arguments"), str):
                kind = type(function.get("arguments")).__name__
                name = f"{where}.function.arguments"
                yield Violation(f"Invalid type for '{name}': expected a string, but got {kind} instead.", name)
            for key in call.keys() - {"id", "type", "function", "extra_content"}:
                yield unknown_parameter(f"{where}.{key}")


def arguments_are_objects(body: Body) -> Iterator[Violation]:
    """Require that the arguments of earlier calls are JSON objects: chat templates get them parsed."""
    for message in body["messages"]:
        for call in calls_of(message):
            try:
                parsed = json.loads(call["function"]["arguments"])
            except (KeyError, TypeError, ValueError):
                parsed = None
            if not isinstance(parsed, dict):
                yield Violation("invalid tool call arguments")


# ------------------------------------------------------------------------------------------------------------ messages


def roles_are_known(roles: Collection[str] = _CONTENT_TYPES) -> Rule:
    """Require at least one message, and known roles."""

    def rule(body: Body) -> Iterator[Violation]:
        if not body["messages"]:
            words = "empty array. Expected an array with minimum length 1, but got an empty array instead."
            yield Violation(f"Invalid 'messages': {words}", "messages", "empty_array")
        for place, message in enumerate(body["messages"]):
            if message.get("role") not in roles:
                where = f"messages[{place}].role"
                known = ", ".join(f"'{role}'" for role in roles)
                yield Violation(
                    f"Invalid value: '{message.get('role')}'. Supported values are: {known}.", where, "invalid_value"
                )

    return rule


def content_is_complete(body: Body) -> Iterator[Violation]:
    """Require text, or parts of the role's types; null only beside tool calls."""
    for place, message in enumerate(body["messages"]):
        where, content = f"messages.[{place}].content", message.get("content")
        if content is None:
            if not calls_of(message):
                yield Violation("Invalid value for 'content': expected a string, got null.", where)
        elif isinstance(content, list):
            allowed = _CONTENT_TYPES.get(message.get("role", ""), set())
            for number, part in enumerate(content):
                if not isinstance(part, dict) or part.get("type") not in allowed:
                    kind = part.get("type") if isinstance(part, dict) else part
                    name = f"messages[{place}].content[{number}].type"
                    known = ", ".join(f"'{one}'" for one in sorted(allowed))
                    yield Violation(f"Invalid value: '{kind}'. Supported values are: {known}.", name, "invalid_value")
        elif not isinstance(content, str):
            yield Violation(f"Invalid type for '{where}': expected a string or an array.", where, "invalid_type")
        if calls_of(message) == [] and "tool_calls" in message:
            words = "empty array. Expected an array with minimum length 1, but got an empty array instead."
            name = f"messages[{place}].tool_calls"
            yield Violation(f"Invalid '{name}': {words}", name, "empty_array")


def content_is_not_empty(body: Body) -> Iterator[Violation]:
    """Refuse messages without text, except results of tools, and text that is empty beside tool calls."""
    for message in body["messages"]:
        content = message.get("content")
        texts = [content] if isinstance(content, str) else [part.get("text", " ") for part in content or []]
        if message.get("role") != "tool" and ("" in texts or (not texts and not calls_of(message))):
            yield Violation("messages: text content blocks must be non-empty")


def messages_have_known_fields(*extra: str) -> Rule:
    """Refuse message fields other than those of OpenAI's API and `extra`."""
    known = {"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "audio", *extra}

    def rule(body: Body) -> Iterator[Violation]:
        for place, message in enumerate(body["messages"]):
            for key in message.keys() - known:
                yield unknown_parameter(f"messages[{place}].{key}")
            if message.get("tool_calls") and message.get("role") != "assistant":
                yield unknown_parameter(f"messages[{place}].tool_calls")

    return rule


def names_match(body: Body) -> Iterator[Violation]:
    """Require that names of messages and tools consist of ASCII letters, digits, `_` and `-`."""
    for place, message in enumerate(body["messages"]):
        if "name" in message and not _NAME.fullmatch(str(message["name"])):
            yield wrong_pattern(f"messages[{place}].name")


def nobody_has_a_name(body: Body) -> Iterator[Violation]:
    """Refuse `name` in messages that are not results of tools."""
    for place, message in enumerate(body["messages"]):
        if "name" in message and message.get("role") != "tool":
            yield forbidden_field("messages", place, message.get("role"), "name")


def system_message_is_first(body: Body) -> Iterator[Violation]:
    """Refuse system messages after the first message."""
    if any(message.get("role") == "system" for message in body["messages"][1:]):
        yield Violation("System message must be at the beginning.")


def roles_alternate(body: Body) -> Iterator[Violation]:
    """Require that user and assistant take turns after an optional system message, not counting calls and results."""
    expected = "user"
    for message in body["messages"][body["messages"][0].get("role") == "system" :] if body["messages"] else []:
        if message.get("role") == "tool" or calls_of(message):
            continue
        if message.get("role") != expected:
            yield Violation(
                "After the optional system message, conversation roles must alternate user and assistant roles except "
                "for tool calls and results."
            )
            return
        expected = "assistant" if expected == "user" else "user"


def no_user_after_tool(body: Body) -> Iterator[Violation]:
    """Refuse a message of the user directly after the result of a tool."""
    for before, message in zip(body["messages"], body["messages"][1:], strict=False):
        if before.get("role") == "tool" and message.get("role") in ("user", "system"):
            words = f"Unexpected role '{message['role']}' after role 'tool'"
            yield Violation(words, code="3230", type="invalid_request_message_order")


def last_message_asks(body: Body) -> Iterator[Violation]:
    """Require that the last message is the user's or a tool's."""
    if body["messages"] and (role := body["messages"][-1].get("role")) not in ("user", "tool"):
        words = f"Expected last role User or Tool (or Assistant with prefix True) for serving but got {role}"
        yield Violation(words, code="3230", type="invalid_request_message_order")


def calls_follow_user_or_tool(body: Body) -> Iterator[Violation]:
    """Refuse tool calls directly after another message of the assistant, or at the beginning."""
    for before, message in zip([{}, *body["messages"]], body["messages"], strict=False):
        if calls_of(message) and before.get("role") not in ("user", "tool"):
            yield Violation(
                "Please ensure that function call turn comes immediately after a user turn or after a function response"
                " turn."
            )
