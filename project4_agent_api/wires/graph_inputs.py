"""The form in which another protocol gives an assistant its input.

A graph that takes messages is given a `message`; another one the input of the graph itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, ValidationError

from project4_agent_api.assistants import introspection
from project4_agent_api.core.state import find
from project4_agent_api.graphs.registry import Graphs
from project4_agent_api.models import Assistant, Json
from project4_agent_api.store.service import SharedStore
from project4_agent_api.wires.conversations import Conversations
from shared.errors import InvalidRequest
from shared.schemas import NOT_BLANK, WITHOUT_NUL, RequestBody

_THREAD = {
    "type": "string",
    "format": "uuid",
    "description": "The `thread_id` of an earlier result, to continue that conversation. Default: a new one.",
}


class Message(RequestBody):
    """The arguments of a tool whose graph takes messages."""

    message: Annotated[str, NOT_BLANK, WITHOUT_NUL] = Field(description="What to say to the assistant.")


@dataclass(frozen=True)
class InputForm:
    """How arguments become the input of a graph.

    Attributes:
        kind: `message` for a graph that takes messages, `object` for one whose input is an object, else `value`.
        schema: The JSON schema of the arguments.
        takes_client_tools: Whether the context of a run may have tools of its client.
    """

    kind: Literal["message", "object", "value"]
    schema: Json
    takes_client_tools: bool = False

    @classmethod
    def from_schema(cls, schema: Json | None) -> "InputForm":
        """Choose the form by the schema of a graph's input; None for a graph without one."""
        schema = schema or {"type": "object"}
        properties = schema.get("properties", {})
        if "messages" in properties and set(schema.get("required", ())) <= {"messages"}:
            return cls("message", _with_thread(Message.model_json_schema()))
        if schema.get("type") == "object" and "thread_id" not in properties:
            return cls("object", _with_thread(schema))
        definitions = {"$defs": schema["$defs"]} if "$defs" in schema else {}
        inner = {name: value for name, value in schema.items() if name != "$defs"}
        return cls(
            "value",
            _with_thread({"type": "object", "properties": {"input": inner}, "required": ["input"], **definitions}),
        )

    def read(self, arguments: Mapping[str, Any]) -> tuple[Any, UUID | None]:
        """Return the input of a run, and the thread that it continues.

        Raises:
            InvalidRequest: if a message or a thread's id is malformed. The graph checks its own input.
        """
        given = dict(arguments)
        thread_id = _thread_id(given.pop("thread_id", None))
        if self.kind == "object":
            return given, thread_id
        if self.kind == "value":
            if given.keys() != {"input"}:
                raise InvalidRequest("The arguments are `input`, and optionally `thread_id`.")
            return given["input"], thread_id
        try:
            message = Message.model_validate(given).message
        except ValidationError as error:
            first = error.errors()[0]
            raise InvalidRequest(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        return {"messages": [{"role": "user", "content": message}]}, thread_id


async def input_form(conversations: Conversations, assistant: Assistant) -> InputForm:
    """Read the schema of an assistant's graph. It is cached by the assistant's version.

    Raises:
        InvalidRequest: if the graph cannot be created with the assistant's configuration.
        NotFound: if there is no such graph anymore.
    """
    app, owner_id = conversations.connection.scope["app"], conversations.connection.state.principal.account_id
    graphs = find(app, Graphs)
    inspected = graphs.inspected  # read once: the graphs may be reloaded meanwhile
    key = (InputForm, owner_id, assistant.assistant_id, assistant.version)  # a factory sees the caller
    cached: InputForm | None = inspected.get(key)
    if cached:
        return cached
    store = find(app, SharedStore).for_owner(owner_id)
    async with introspection.open_graph(graphs, assistant.graph_id, assistant.config, store) as graph:
        schemas = introspection.schemas(graph)
    takes_client_tools = "client_tools" in (schemas.context_schema or {}).get("properties", {})
    form = replace(InputForm.from_schema(schemas.input_schema), takes_client_tools=takes_client_tools)
    inspected.set(key, form)
    return form


def _with_thread(schema: Json) -> Json:
    return {**schema, "properties": {**schema.get("properties", {}), "thread_id": _THREAD}}


def _thread_id(value: object) -> UUID | None:
    if value is None:
        return None
    try:
        return UUID(str(value))
    except ValueError:
        raise InvalidRequest("thread_id: it has to be the id of a thread.") from None
