"""What stands around the agent's model and tools, so that every run ends, and ends with words.

LangChain's own middleware is used where it does this; here is what it leaves open.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    HumanInTheLoopMiddleware,
    ModelCallLimitMiddleware,
    ModelRequest,
    ModelResponse,
    ToolCallRequest,
    ToolErrorMiddleware,
    hook_config,
)
from langchain.agents.middleware.model_call_limit import ModelCallLimitState
from langchain_core.messages import AIMessage, InvalidToolCall, SystemMessage, ToolMessage
from langchain_core.tools import ToolException
from langgraph.runtime import Runtime
from langgraph.types import Command
from loguru import logger
from uuid_utils.compat import uuid7

from project4_agent_api.agents.context import clipped
from shared.errors import ServiceError

Middleware = AgentMiddleware[Any, Any, Any]

_LAST_CALL = "You cannot call any more tools now. Answer with what you have, and say what is missing."
_STOPPED = (
    "I stopped here: this took more steps than one run may take. Ask again, perhaps for a part of it, and I will go on."
)
_NO_ANSWER = "The model gave no answer. Please try again, or put it differently."
_CUT_OFF = "The model's answer was cut off before it said anything. Please try again, or ask for something shorter."
_FILTERED = "The model's provider withheld the answer to this. Please put it differently."


def approval(tools: list[str]) -> HumanInTheLoopMiddleware[Any, Any, Any]:
    """Make the middleware that asks a person before some tools are called."""
    return HumanInTheLoopMiddleware(
        {name: {"allowed_decisions": ["approve", "edit", "reject", "respond"], "when": _is_pending} for name in tools}
    )


def _is_pending(request: ToolCallRequest) -> bool:
    # A call that was refused already (too many, or malformed) will not be made: nobody need be asked.
    answered = {message.tool_call_id for message in request.state["messages"] if isinstance(message, ToolMessage)}
    return request.tool_call["id"] not in answered


def tool_errors() -> ToolErrorMiddleware[Any, Any]:
    """Make the middleware that tells the model what went wrong in a tool, instead of ending the run."""
    return ToolErrorMiddleware(_said_of)


def _said_of(error: Exception, request: ToolCallRequest) -> str:
    name = request.tool_call["name"]
    match error:
        case ToolException():
            reason = str(error)
        case ServiceError():
            reason = error.detail
        case TimeoutError():
            reason = "It took too long."
        case _:
            # A library's message may quote what no model is to see.
            logger.opt(exception=error).warning("the tool {} failed", name)
            reason = f"Something went wrong in it ({type(error).__name__})."
    return f"Error: {name} failed. {reason}"


class ToolBounds(Middleware):
    """Bounds the time of a call, and the length of what it gives back.

    Args:
        seconds: For one call.
        tokens: For the results of one step together: calls that are made side by side share them.
    """

    def __init__(self, seconds: float, tokens: int) -> None:
        super().__init__()
        self._seconds = seconds
        self._tokens = tokens

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Call the tool."""
        async with asyncio.timeout(self._seconds):
            result = await handler(request)
        if not isinstance(result, ToolMessage):
            return result
        asked = next(message for message in reversed(request.state["messages"]) if isinstance(message, AIMessage))
        tokens = self._tokens // max(1, len(asked.tool_calls))
        text = clipped(result.text, tokens)
        return result if text == result.text else result.model_copy(update={"content": text})


class UnusableAnswers(Middleware):
    """Mends what a model says that cannot be used: arguments that are none, and answers without words."""

    @hook_config(can_jump_to=["model"])
    async def aafter_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Refuse malformed calls, and say so where there is no answer."""
        del runtime
        message = state["messages"][-1]
        if not isinstance(message, AIMessage):
            return None
        mended = _without_cut_off_call(message)
        if mended.invalid_tool_calls:
            calls = [{**call, "id": call["id"] or f"call_{uuid7().hex}"} for call in mended.invalid_tool_calls]
            refusals = [_refused(call) for call in calls]  # type: ignore[arg-type]  # it is one, with an id
            mended = mended.model_copy(update={"invalid_tool_calls": calls})
            # Calls that are in order are made; where there are none, the model is told at once.
            return {"messages": [mended, *refusals]} | ({} if mended.tool_calls else {"jump_to": "model"})
        if not mended.tool_calls and not mended.text.strip():
            return {"messages": [mended.model_copy(update={"content": _no_words(mended)})]}
        return None


def _without_cut_off_call(message: AIMessage) -> AIMessage:
    """Take the last call out where the model was cut off: a streamed one looks complete, with half of its arguments."""
    if message.response_metadata.get("finish_reason") != "length" or not message.tool_calls:
        return message
    *whole, cut = message.tool_calls
    invalid = InvalidToolCall(type="invalid_tool_call", id=cut["id"], name=cut["name"], args="", error="cut off")
    return message.model_copy(
        update={"tool_calls": whole, "invalid_tool_calls": [*message.invalid_tool_calls, invalid]}
    )


def _refused(call: InvalidToolCall) -> ToolMessage:
    return ToolMessage(
        f"Error: {call['name'] or 'the tool'} was not called. Its arguments are no complete JSON object. Call it again "
        "with valid arguments.",
        tool_call_id=call["id"],
        name=call["name"] or "unknown",
        status="error",
    )


def _no_words(message: AIMessage) -> str:
    match message.response_metadata.get("finish_reason"):
        case "length":
            return _CUT_OFF
        case "content_filter":
            return _FILTERED
        case _:
            return _NO_ANSWER


class ModelCallLimit(ModelCallLimitMiddleware[Any, Any]):
    """Ends a run after a number of model calls: the last of them has to answer, and if it does not, we do."""

    def __init__(self, calls: int) -> None:
        super().__init__(run_limit=calls)
        self._calls = calls

    @hook_config(can_jump_to=["end"])
    def before_model(self, state: ModelCallLimitState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """End the run in words of our own."""
        update = super().before_model(state, runtime)
        return update and {**update, "messages": [AIMessage(_STOPPED)]}

    @hook_config(can_jump_to=["end"])
    async def abefore_model(self, state: ModelCallLimitState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """End the run in words of our own."""
        return self.before_model(state, runtime)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Let the last call answer: no tool's result would be read any more."""
        done: int = request.state.get("run_model_call_count", 0)  # type: ignore[assignment]  # of the middleware's state
        if done == self._calls - 1 and self._calls > 1:
            before = request.system_message.text if request.system_message else ""
            request = request.override(
                tool_choice="none", system_message=SystemMessage(f"{before}\n\n{_LAST_CALL}".strip())
            )
        return await handler(request)
