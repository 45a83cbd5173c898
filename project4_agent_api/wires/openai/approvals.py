"""Questions of a graph as approval requests, and the client's decisions as the answer that resumes the graph.

The questions are those of LangChain's human-in-the-loop middleware: one may ask about several tool calls, and is
answered for all of them at once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from project4_agent_api.wires.items import Interrupt

_ACTIONS = "action_requests"


@dataclass(frozen=True)
class Request:
    """A tool call that waits for an approval."""

    id: str
    name: str
    arguments: str


def actions(value: Any) -> Sequence[Mapping[str, Any]]:  # noqa: ANN401  any JSON
    """Return the tool calls that a question is about; none if it is another kind of question."""
    found = value.get(_ACTIONS) if isinstance(value, dict) else None
    if isinstance(found, list) and all(isinstance(each, dict) and "name" in each for each in found):
        return found
    return ()


def requests(interrupt: Interrupt) -> Iterator[Request]:
    """Yield the approval requests of a question."""
    for position, action in enumerate(actions(interrupt.value)):
        arguments = orjson.dumps(action.get("args") or {}).decode()
        yield Request(f"mcpr_{interrupt.id}_{position}", str(action["name"]), arguments)


def describe(value: Any) -> str:  # noqa: ANN401  any JSON
    """Describe a question in a sentence, for clients that cannot answer it."""
    if calls := actions(value):
        named = "; ".join(f"{call['name']} with {orjson.dumps(call.get('args') or {}).decode()}" for call in calls)
        return f"These tool calls need an approval: {named}."
    return f"The assistant asks a question: {orjson.dumps(value).decode()}."
