"""Tools of a client of OpenAI's API."""

from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID

from project4_agent_api.agents.client_tools import ClientFunction, ClientTool, FlatClientTool
from project4_agent_api.wires.client_tools import takes_client_tools
from project4_agent_api.wires.conversations import Conversations
from project4_agent_api.wires.openai.errors import unsupported


async def require_client_tools(conversations: Conversations, assistant_id: UUID, context: Mapping[str, Any]) -> None:
    """Check that an assistant can call the tools in a run's context, if there are any.

    Raises:
        RequestValidationError: if it cannot.
        NotFound: if there is no such assistant.
    """
    if context and not await takes_client_tools(conversations, assistant_id):
        raise unsupported("tools", "this assistant calls only tools of the server; leave them out, or use `agent`")


def from_flat(tool: FlatClientTool) -> ClientTool:
    """Convert a tool from the form of responses to that of chat completions."""
    function = {name: value for name, value in tool.items() if name != "type"}
    return {"type": "function", "function": cast("ClientFunction", function)}


def to_flat(tool: ClientTool) -> dict[str, Any]:
    """Convert a tool from the form of chat completions to that of responses, with all fields."""
    return {"type": "function", "description": None, "parameters": None, "strict": None, **tool["function"]}
