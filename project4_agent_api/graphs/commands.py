"""Commands to a graph, which a client may send instead of an input."""

from typing import Annotated, Any

from langgraph.types import Command, Send
from pydantic import AliasChoices, Field

from project4_agent_api.core.schemas import AnyJson, JsonObject, LangGraphBody, Name


class SendTo(LangGraphBody):
    """A node, and its input."""

    node: Name
    input: AnyJson = Field(default=None, validation_alias=AliasChoices("input", "args"))  # JavaScript's name, too


class CommandBody(LangGraphBody):
    """A command to a graph, instead of an input."""

    goto: Name | SendTo | Annotated[list[Name | SendTo], Field(max_length=1000)] | None = None
    update: JsonObject | list[Annotated[tuple[Name, AnyJson], Field(strict=False)]] | None = None
    resume: AnyJson = None


def to_command(body: dict[str, Any]) -> Command[Any]:
    """Convert a client's command, as JSON, to LangGraph's."""
    goto = body.get("goto")
    update = body.get("update")
    if isinstance(update, list):
        update = [tuple(pair) for pair in update]
    targets = goto if isinstance(goto, list) else [] if goto is None else [goto]
    return Command(
        update=update,
        resume=body.get("resume"),
        goto=[target if isinstance(target, str) else Send(target["node"], target.get("input")) for target in targets],
    )
