"""Rules for the requests that a real endpoint answers with 400. `profiles.py` says which endpoint has which."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]
Message = dict[str, Any]


@dataclass(frozen=True)
class Violation:
    """What an endpoint refuses.

    Attributes:
        message: The endpoint's own words.
        param: Path of the field in the request, as OpenAI writes it.
    """

    message: str
    param: str | None = None
    code: str | None = None

    def __str__(self) -> str:
        return f"{self.param}: {self.message}" if self.param else self.message


Rule = Callable[[Body], Iterator[Violation]]


def calls_of(message: Message) -> list[dict[str, Any]]:
    """Return an assistant message's tool calls."""
    calls: list[dict[str, Any]] = (message.get("role") == "assistant" and message.get("tool_calls")) or []
    return calls


def tool_results_follow_their_calls(body: Body) -> Iterator[Violation]:
    """Require exactly one result for each call, directly after the message with the calls."""
    open_ids: list[str] = []
    answered: dict[str, int] = {}
    in_results = False
    for place, message in enumerate(body["messages"]):
        where = f"messages.[{place}]"
        if message["role"] == "tool":
            call_id = message.get("tool_call_id")
            if not in_results:
                yield Violation(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                    "'tool_calls'.",
                    f"{where}.role",
                )
            elif call_id in answered:
                yield Violation(
                    f"Invalid parameter: Duplicate value for 'tool_call_id' of '{call_id}', in "
                    f"messages[{answered[call_id]}] and messages[{place}].",
                    f"{where}.tool_call_id",
                )
            elif call_id not in open_ids:
                yield Violation(
                    f"Invalid parameter: 'tool_call_id' of '{call_id}' not found in 'tool_calls' of previous message.",
                    f"{where}.tool_call_id",
                )
            else:
                open_ids.remove(call_id)
                answered[call_id] = place
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
    """Require ids that are strings, not empty, and unique within a message."""
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
            elif call_id in seen:
                yield Violation(f"Duplicate value for 'id' of '{call_id}' in messages[{place}].tool_calls.", where)
            else:
                seen.add(call_id)
