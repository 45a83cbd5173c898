"""Commands to a graph: what a client sends instead of an input."""

from typing import Annotated, Any

from langgraph.types import Command, Send
from pydantic import Field

from project4_agent_api.core.schemas import AnyJson, JsonObject, Name
from shared.schemas import RequestBody


class SendTo(RequestBody):
    """A node, and what it is given."""

    node: Name
    input: AnyJson = None


class CommandBody(RequestBody):
    """What a graph is told, in place of an input."""

    goto: Name | SendTo | Annotated[list[Name | SendTo], Field(max_length=1000)] | None = None
    update: JsonObject | list[Annotated[tuple[Name, AnyJson], Field(strict=False)]] | None = None
    resume: AnyJson = None


def command_of(command: dict[str, Any]) -> Command[Any]:
    """Return what a client asks of a graph, as LangGraph knows it."""
    goto = command.get("goto")
    update = command.get("update")
    if isinstance(update, list):
        update = [tuple(pair) for pair in update]
    places = goto if isinstance(goto, list) else [] if goto is None else [goto]
    return Command(
        update=update,
        resume=command.get("resume"),
        goto=[place if isinstance(place, str) else Send(place["node"], place.get("input")) for place in places],
    )
