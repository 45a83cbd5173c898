"""Middleware that makes every run of the agent end, with a text.

LangChain's own middleware is used where it suffices.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    ModelRequest,
    ModelResponse,
    ToolCallRequest,
    ToolErrorMiddleware,
)
from langchain_core.messages import AIMessage, BaseMessage, InvalidToolCall, ToolCall, ToolMessage
from langchain_core.tools import ToolException
from langgraph.runtime import Runtime
from langgraph.types import Command
from loguru import logger
from pydantic import TypeAdapter, ValidationError

from project4_agent_api.agents.history import (
    last_ai_message,
    refusal,
    tool_calls,
    unique_calls,
    with_calls,
    with_readable_calls,
)
from project4_agent_api.agents.summarization import truncate
from project4_agent_api.core.schemas import JsonObject
from shared.errors import ServiceError

Middleware = AgentMiddleware[Any, Any, Any]

_ARGUMENTS = TypeAdapter(JsonObject)

_NO_ANSWER = "The model gave no answer. Please try again, or put it differently."
_CUT_OFF = "The model's answer was cut off before it said anything. Please try again, or ask for something shorter."
_FILTERED = "The model's provider withheld the answer to this. Please put it differently."


def tool_errors() -> ToolErrorMiddleware[Any, Any]:
    """Create the middleware that reports a tool's error to the model, instead of failing the run."""
    return ToolErrorMiddleware(_error_text)


def _error_text(error: Exception, request: ToolCallRequest) -> str:
    name = request.tool_call["name"]
    match error:
        case ToolException():
            reason = str(error)
        case ServiceError():
            reason = error.detail
        case TimeoutError():
            reason = "It took too long."
        case _:
            # A library's message may quote data that the model must not see.
            logger.opt(exception=error).warning("the tool {} failed", name)
            reason = f"Something went wrong in it ({type(error).__name__})."
    return f"Error: {name} failed. {reason}"


class ToolBounds(Middleware):
    """Limits the duration of a tool call, and the length of its result.

    Args:
        timeout_seconds: Limit of a single call.
        tokens: For the results of one step: concurrent calls share them.
    """

    def __init__(self, timeout_seconds: float, tokens: int) -> None:
        super().__init__()
        self._timeout_seconds = timeout_seconds
        self._tokens = tokens

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Call the tool, and truncate its result."""
        async with asyncio.timeout(self._timeout_seconds):
            result = await handler(request)
        if not isinstance(result, ToolMessage):
            return result
        message = last_ai_message(request.state.get("messages", []))
        tokens = self._tokens // max(1, len(message.tool_calls) if message else 0)
        text = truncate(result.text, tokens)
        return result if text == result.text else result.model_copy(update={"content": text})


class UnusableAnswers(Middleware):
    """Repairs unusable answers of the model: malformed calls, ids that are missing or repeated, and no text."""

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Invalidate calls whose arguments cannot be stored before they become a part of the state."""
        response = await handler(request)
        return replace(response, result=[_invalidate_unstorable_calls(message) for message in response.result])

    async def aafter_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Refuse malformed calls, make ids unique on the thread, and replace an empty answer with an explanation."""
        del runtime
        message = state["messages"][-1]
        if not isinstance(message, AIMessage):
            return None
        checked = _invalidate_truncated_call(message)
        used_ids = {call["id"] for other in state["messages"][:-1] for call in tool_calls(other)}
        calls = unique_calls(with_readable_calls(checked).tool_calls, used_ids)
        if checked.invalid_tool_calls or calls != message.tool_calls:
            refused = calls[len(checked.tool_calls) :]
            return {"messages": [with_calls(checked, calls), *map(refusal, refused)]}
        if not calls and not message.text.strip():
            return {"messages": [message.model_copy(update={"content": _replacement_text(message)})]}
        return None


def _invalidate_unstorable_calls(message: BaseMessage) -> BaseMessage:
    """Invalidate calls with lone surrogates, NUL characters, integers beyond 64 bits, or too deep arguments."""
    if not isinstance(message, AIMessage):
        return message
    return _invalidate(message, [call for call in message.tool_calls if not _is_storable(call)], "cannot be stored")


def _is_storable(call: ToolCall) -> bool:
    try:
        _ARGUMENTS.validate_python(call["args"])
    except ValidationError:
        return False
    return True


def _invalidate_truncated_call(message: AIMessage) -> AIMessage:
    """Invalidate the last call of truncated output: a streamed call looks complete with half of its arguments."""
    if message.response_metadata.get("finish_reason") != "length":
        return message
    return _invalidate(message, message.tool_calls[-1:], "cut off")


def _invalidate(message: AIMessage, calls: Sequence[ToolCall], reason: str) -> AIMessage:
    """Return the message with some of its calls invalidated, without their arguments."""
    if not calls:
        return message
    invalid = [
        InvalidToolCall(type="invalid_tool_call", id=call["id"], name=call["name"], args="", error=reason)
        for call in calls
    ]
    others = [call for call in message.tool_calls if not any(call is answered for answered in calls)]
    return message.model_copy(
        update={"tool_calls": others, "invalid_tool_calls": [*message.invalid_tool_calls, *invalid]}
    )


def _replacement_text(message: AIMessage) -> str:
    match message.response_metadata.get("finish_reason"):
        case "length":
            return _CUT_OFF
        case "content_filter":
            return _FILTERED
        case _:
            return _NO_ANSWER
