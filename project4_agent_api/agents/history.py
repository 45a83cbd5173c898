"""Repair of a thread's messages, so that every model endpoint accepts them.

Endpoints refuse a conversation, and with it every later message, unless each tool call is followed at once by exactly
one result with its id. Threads lose results: a run is cancelled or times out during a call, its worker dies, a client
sends a message instead of an approval, forks, or writes the state.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from operator import is_
from typing import Any, cast

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.messages import AIMessage, BaseMessage, RemoveMessage, ToolCall, ToolMessage
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.runtime import Runtime
from langgraph.types import Command
from uuid_utils.compat import uuid7

from shared.models.tool_calls import new_call_id

STOPPED = "stopped"  # in `additional_kwargs` of the result of a call that has none


class RepairHistory(AgentMiddleware[Any, Any, Any]):
    """Repairs the thread's messages before the model reads them, and stores the repair."""

    async def abefore_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Replace the messages if they need a repair."""
        del runtime
        messages = state["messages"]
        repaired = repair(messages)
        if len(repaired) == len(messages) and all(map(is_, repaired, messages)):
            return None
        return {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES), *repaired]}

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Repair the model's messages: a command can start tools and the model in the same step."""
        return await handler(request.override(messages=cast("Any", repair(request.messages))))

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Give a call without an id an empty one: tools refuse a call that has none."""
        if request.tool_call["id"] is None:
            request = request.override(tool_call={**request.tool_call, "id": ""})
        return await handler(request)


def repair(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the messages with exactly one result right after each tool call.

    A call without a result is answered as stopped, one that cannot be read as not called. Calls whose id is missing or
    was used before get another, and so do their results, which are paired in order. Results without a call, and answers
    of the model that contain nothing, are left out.
    """
    used_ids = set[str | None]()
    results = _Results(messages)
    repaired: list[BaseMessage] = []
    for index, message in enumerate(messages):
        if isinstance(message, ToolMessage):
            continue
        if not isinstance(message, AIMessage):
            repaired.append(message)
            continue
        complete = with_readable_calls(message)
        if not complete.tool_calls:
            repaired += [message] if message.content else []
            continue
        calls = unique_calls(complete.tool_calls, used_ids)
        repaired.append(message if calls == message.tool_calls else with_calls(complete, calls))
        for position, (call, renamed) in enumerate(zip(complete.tool_calls, calls, strict=True)):
            result = results.take(index, call["id"])
            if result is not None:
                repaired.append(_with_call_id(result, renamed))
            else:
                readable = position < len(message.tool_calls)
                repaired.append(_stopped(renamed) if readable else refusal(renamed))
    return repaired


class _Results:
    """The results of tool calls among messages, by the id of their call. Each belongs to one call."""

    def __init__(self, messages: Sequence[BaseMessage]) -> None:
        self._messages = messages
        self._results = defaultdict[str, list[int]](list)  # indexes of the messages
        self._callers = defaultdict[str | None, list[int]](list)
        for index, message in enumerate(messages):
            if isinstance(message, ToolMessage):
                self._results[message.tool_call_id].append(index)
            for call in tool_calls(message):
                self._callers[call["id"]].append(index)

    def take(self, index: int, call_id: str | None) -> BaseMessage | None:
        """Return the result of a call in a message: one before the next message that calls with the same id.

        A result that came after the call was answered as stopped takes the place of that answer.
        """
        results, callers = self._results[call_id or ""], self._callers[call_id]
        following = bisect_right(callers, index)
        end = callers[following] if following < len(callers) else len(self._messages)
        places = range(bisect_right(results, index), bisect_left(results, end))
        if not places:
            return None
        own = (place for place in places if not self._messages[results[place]].additional_kwargs.get(STOPPED))
        return self._messages[results.pop(next(own, places[0]))]


def last_ai_message(messages: Sequence[BaseMessage]) -> AIMessage | None:
    """Return the newest answer of the model."""
    return next((message for message in reversed(messages) if isinstance(message, AIMessage)), None)


def tool_calls(message: BaseMessage) -> Sequence[ToolCall]:
    """Return the calls of a message; none if it is not the model's."""
    return message.tool_calls if isinstance(message, AIMessage) else []


def unanswered_calls(messages: Sequence[BaseMessage]) -> dict[int, ToolCall]:
    """Return the newest answer's calls that have no result yet, by their position."""
    index = next((i for i in reversed(range(len(messages))) if isinstance(messages[i], AIMessage)), None)
    if index is None:
        return {}
    results = _Results(messages[index:])
    calls = enumerate(tool_calls(messages[index]))
    return {position: call for position, call in calls if results.take(0, call["id"]) is None}


def unique_calls(calls: Sequence[ToolCall], used_ids: set[str | None]) -> list[ToolCall]:
    """Return the calls, with other ids where they are missing or used, and add their ids to the used ones."""
    unique = []
    for call in calls:
        if not call["id"] or call["id"] in used_ids:
            call = {**call, "id": new_call_id(used_ids)}  # noqa: PLW2901  a copy
        used_ids.add(call["id"])
        unique.append(call)
    return unique


def with_readable_calls(message: AIMessage) -> AIMessage:
    """Turn calls whose arguments are no JSON object into calls without arguments, at the end.

    Endpoints that parse the arguments of earlier calls would refuse the whole thread.
    """
    if not message.invalid_tool_calls:
        return message
    calls = [
        ToolCall(type="tool_call", name=call["name"] or "unknown", args={}, id=call["id"])
        for call in message.invalid_tool_calls
    ]
    return with_calls(message, [*message.tool_calls, *calls])


def with_calls(message: AIMessage, calls: Sequence[ToolCall]) -> AIMessage:
    """Return the message with other calls, and no invalid ones."""
    return message.model_copy(update={"tool_calls": list(calls), "invalid_tool_calls": []})


def failed(call: ToolCall, text: str, **fields: Any) -> ToolMessage:
    """Create the result of a call that was not made, or whose result is missing."""
    return ToolMessage(text, tool_call_id=call["id"], name=call["name"], status="error", **fields)


def refusal(call: ToolCall) -> ToolMessage:
    """Create the result of a call whose arguments could not be read."""
    reason = "its arguments were no complete JSON object, or contained a character or a number that cannot be stored"
    return failed(call, f"Error: {call['name']} was not called, because {reason}. Call it again with valid arguments.")


def _stopped(call: ToolCall) -> ToolMessage:
    text = f"Stopped: {call['name']} has no result, because the run ended before it did."
    return failed(call, text, additional_kwargs={STOPPED: True}, id=str(uuid7()))


def _with_call_id(message: BaseMessage, call: ToolCall) -> ToolMessage:
    assert isinstance(message, ToolMessage)  # noqa: S101  found by its type
    if message.tool_call_id == call["id"]:
        return message
    return message.model_copy(update={"tool_call_id": call["id"]})
