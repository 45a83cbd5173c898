"""Limits of a run's model calls and tool calls.

The counts are kept by the process, not in the thread's state, which a client's command can write. A run that another
worker continues is counted anew.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    ModelRequest,
    ModelResponse,
    ToolCallRequest,
    hook_config,
)
from langchain_core.messages import AIMessage, SystemMessage, ToolCall, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config
from langgraph.runtime import Runtime
from langgraph.types import Command

from project4_agent_api.agents.history import failed, unanswered_calls

_LAST_CALL = "You cannot call any more tools now. Answer with what you have, and say what is missing."
_STOPPED = (
    "I stopped here: this took more steps than one run may take. Ask again, perhaps for a part of it, and I will go on."
)
_MAX_RUNS = 10_000  # in memory; more than a worker executes at once by far


class RunCounts:
    """Counts something for each attempt at a run, or for a part of an attempt."""

    def __init__(self) -> None:
        self._counts: OrderedDict[object, int] = OrderedDict()

    def count(self, config: RunnableConfig) -> int:
        """Return the count of a run."""
        return self._counts.get(_counted(config), 0)

    def increment(self, config: RunnableConfig, part: object = None) -> int:
        """Increment the count of a run, and return it."""
        counted = _counted(config, part)
        count = self._counts[counted] = self._counts.pop(counted, 0) + 1
        if len(self._counts) > _MAX_RUNS:
            self._counts.popitem(last=False)
        return count


def _counted(config: RunnableConfig, part: object = None) -> object:
    metadata = config.get("metadata", {})  # the server sets these two
    return metadata.get("run_id"), metadata.get("run_attempt"), part


class ToolCallLimit(AgentMiddleware[Any, Any, Any]):
    """Refuses tool calls beyond a run's limit, wherever they come from."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._counts = RunCounts()

    async def aafter_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Refuse the calls of the last message that exceed the limit, before a person is asked about them."""
        del runtime
        pending = list(unanswered_calls(state["messages"]).values())
        excess = pending[max(0, self._limit - self._counts.count(get_config())) :]
        return {"messages": [_refusal(call) for call in excess]} if excess else None

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Count the call, and refuse it beyond the limit."""
        if self._counts.increment(request.runtime.config) > self._limit:
            return _refusal(request.tool_call)
        return await handler(request)


def _refusal(call: ToolCall) -> ToolMessage:
    reason = "this run's limit of tool calls is reached. Do not call more tools."
    return failed(call, f"Error: {call['name']} was not called: {reason}")


class ModelCallLimit(AgentMiddleware[Any, Any, Any]):
    """Ends a run after a number of model calls: the last call has to answer, or the run ends with a fixed text."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._counts = RunCounts()

    @hook_config(can_jump_to=["end"])
    async def abefore_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """End the run with a text for the user if the limit is reached."""
        del state, runtime
        if self._counts.count(get_config()) < self._limit:
            return None
        return {"jump_to": "end", "messages": [AIMessage(_STOPPED)]}

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Count the call, and make the last one answer: the model could not read another tool's result.

        A command can start many calls in one step.
        """
        count = self._counts.increment(get_config())
        if count > self._limit:
            return ModelResponse(result=[AIMessage(_STOPPED)])
        if count == self._limit > 1:
            instructions = request.system_message.text if request.system_message else ""
            request = request.override(
                tool_choice="none", system_message=SystemMessage(f"{instructions}\n\n{_LAST_CALL}".strip())
            )
        return await handler(request)
