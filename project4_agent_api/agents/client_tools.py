"""Tools that the client of a run executes: the model calls them, and the run waits for the results.

A run's context has their definitions. A call interrupts the run as LangChain's headless tools do, so every client that
answers questions can give the result, also one that has not started the run.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, NotRequired

import orjson
from langchain.agents.middleware import ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.tools import BaseTool
from langgraph.config import get_config
from langgraph.types import Command, interrupt
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from project4_agent_api.agents.history import last_ai_message
from project4_agent_api.agents.limits import RunCounts
from project4_agent_api.agents.middleware import Middleware
from shared.errors import InvalidRequest

CLIENT_TOOLS = "client_tools"  # in `additional_kwargs` of a message: the names of the client's tools that it calls
_STRICT = ConfigDict(extra="forbid")
_MAX_TOOLS = Field(max_length=128)  # as in OpenAI's API


@with_config(_STRICT)
class ClientFunction(TypedDict):
    """A function of the client."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: NotRequired[str | None]
    parameters: NotRequired[Annotated[dict[str, Any] | None, Field(description="The JSON schema of the arguments.")]]
    strict: NotRequired[bool | None]


@with_config(_STRICT)
class ClientTool(TypedDict):
    """A tool of the client, in the form of OpenAI's chat completions."""

    type: Literal["function"]
    function: ClientFunction


@with_config(_STRICT)
class FlatClientTool(ClientFunction):
    """A tool of the client, in the form of OpenAI's responses."""

    type: Literal["function"]


def _different_names(tools: list[Any]) -> list[Any]:
    names = [tool.get("function", tool)["name"] for tool in tools]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"several tools have the name {min(repeated)}")
    return tools


ClientTools = Annotated[list[ClientTool], _MAX_TOOLS, AfterValidator(_different_names)]
FlatClientTools = Annotated[list[FlatClientTool], _MAX_TOOLS, AfterValidator(_different_names)]


class ClientToolsContext(TypedDict, total=False):
    """The context of a run whose client has tools."""

    client_tools: ClientTools
    client_tool_choice: Annotated[
        str, Field(description="What the model has to call at first: a tool's name, or `required` for any tool.")
    ]


_CONTEXT = TypeAdapter(ClientToolsContext)


class CallClientTools(Middleware):
    """Offers the client's tools to the model, and interrupts the run where it calls one.

    A graph takes them if its context has `ClientToolsContext`. Each call is a question of its own: the server's tools
    that the same message calls are executed meanwhile. The answer is the result, or an object with the result by the
    call's id.
    """

    def __init__(self) -> None:
        super().__init__()
        self._model_calls = RunCounts()

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Add the client's tools to those of the agent, and mark the calls of them."""
        context = read_context(request.runtime.context)
        tools = context.get("client_tools")
        if not tools:
            return await handler(request)
        names = {tool["function"]["name"] for tool in tools}
        own = {tool.name for tool in request.tools if isinstance(tool, BaseTool)}
        if clashes := names & own:
            raise InvalidRequest(f"The assistant has a tool named {min(clashes)} too. Give yours another name.")
        request = request.override(tools=[*request.tools, *map(_without_nulls, tools)])
        choice = context.get("client_tool_choice")
        if choice and self._model_calls.increment(get_config()) == 1:
            request = request.override(tool_choice=choice)
        response = await handler(request)
        return replace(response, result=[_mark_calls(message, names) for message in response.result])

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Interrupt the run at a call of a client's tool; the answer to the question is its result."""
        call = request.tool_call
        message = last_ai_message(request.state.get("messages", []))
        marked = message.additional_kwargs.get(CLIENT_TOOLS) if message else None
        if request.tool is not None or not isinstance(marked, list) or call["name"] not in marked:
            return await handler(request)
        asked = {name: call[name] for name in ("id", "name", "args")}
        answer = interrupt({"type": "tool", "tool_call": asked})
        result = answer[call["id"]] if isinstance(answer, dict) and answer.keys() == {call["id"]} else answer
        content = result if _is_content(result) else orjson.dumps(result).decode()
        names = {CLIENT_TOOLS: [call["name"]]}
        return ToolMessage(content, tool_call_id=call["id"], name=call["name"], additional_kwargs=names)


def read_context(context: object) -> ClientToolsContext:
    """Return the client's part of a run's context.

    Raises:
        InvalidRequest: if it is malformed.
    """
    try:
        return _CONTEXT.validate_python(context if isinstance(context, Mapping) else {})
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidRequest(f"context.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _without_nulls(tool: ClientTool) -> dict[str, Any]:
    """Return a tool without fields that are null: OpenAI's responses have them, other endpoints refuse them."""
    function = {name: value for name, value in tool["function"].items() if value is not None}
    return {"type": tool["type"], "function": function}


def _mark_calls(message: BaseMessage, names: set[str]) -> BaseMessage:
    called = sorted({call["name"] for call in message.tool_calls} & names) if isinstance(message, AIMessage) else ()
    if not called:
        return message
    return message.model_copy(update={"additional_kwargs": {**message.additional_kwargs, CLIENT_TOOLS: called}})


def _is_content(result: object) -> bool:
    """Return whether a result is the content of a message: a text, or blocks such as images."""
    if isinstance(result, Sequence) and not isinstance(result, str):
        return bool(result) and all(isinstance(block, dict) and "type" in block for block in result)
    return isinstance(result, str)
