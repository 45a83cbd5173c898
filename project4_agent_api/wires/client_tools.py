"""Calls of tools that the client executes. A graph asks for their results as LangChain's headless tools do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson

from project4_agent_api.wires.conversations import Conversations
from project4_agent_api.wires.graph_inputs import input_form
from project4_agent_api.wires.items import Interrupt


@dataclass(frozen=True)
class ClientCall:
    """A call that waits for its result, with all of its arguments as JSON."""

    call_id: str
    name: str
    arguments: str

    @classmethod
    def from_interrupt(cls, interrupt: Interrupt) -> "ClientCall | None":
        """Return the call that a question is about; None if it is another kind of question."""
        value = interrupt.value
        if not isinstance(value, Mapping) or value.get("type") != "tool":
            return None
        match value.get("tool_call") or value.get("toolCall"):  # in Python, in JavaScript
            case {"name": str(name), **call}:
                arguments = orjson.dumps(call.get("args") or {}).decode()
                return cls(str(call.get("id") or f"call_{interrupt.id}"), name, arguments)
        return None

    def answer(self, result: object) -> dict[str, Any]:
        """Return the value that resumes the graph with the result."""
        return {self.call_id: result}


async def takes_client_tools(conversations: Conversations, assistant_id: UUID) -> bool:
    """Return whether an assistant can call a client's tools: its graph reads them in the run's context.

    Raises:
        InvalidRequest: if the graph cannot be created with the assistant's configuration.
        NotFound: if there is no such assistant.
    """
    return (await input_form(conversations, await conversations.get_assistant(assistant_id))).takes_client_tools
