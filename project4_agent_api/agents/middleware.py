"""Middleware that makes every run of the agent end, with a text.

LangChain's own middleware is used where it suffices.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Annotated, Any

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
from langchain.agents.middleware.human_in_the_loop import HITLRequest, HITLResponse
from langchain.agents.middleware.model_call_limit import ModelCallLimitState
from langchain_core.messages import AIMessage, InvalidToolCall, SystemMessage, ToolCall, ToolMessage
from langchain_core.tools import ToolException
from langgraph.runtime import Runtime
from langgraph.types import Command, interrupt
from loguru import logger
from pydantic import AfterValidator, ValidationError
from uuid_utils.compat import uuid7

from project4_agent_api.agents.summarization import truncate
from shared.errors import InvalidRequest, ServiceError

Middleware = AgentMiddleware[Any, Any, Any]

_LAST_CALL = "You cannot call any more tools now. Answer with what you have, and say what is missing."
_STOPPED = (
    "I stopped here: this took more steps than one run may take. Ask again, perhaps for a part of it, and I will go on."
)
_NO_ANSWER = "The model gave no answer. Please try again, or put it differently."
_CUT_OFF = "The model's answer was cut off before it said anything. Please try again, or ask for something shorter."
_FILTERED = "The model's provider withheld the answer to this. Please put it differently."


class Approval(HumanInTheLoopMiddleware[Any, Any, Any]):
    """Asks a person before some tools are called, with the request and response of LangChain's middleware.

    LangChain's middleware stores the response before it validates it: a malformed one fails every later attempt, and
    the thread is lost. This one validates first, so the client can respond again.

    Args:
        tools: Names of the tools that need approval.
        all_tools: Names of all tools that a call can be changed to.
    """

    def __init__(self, tools: Collection[str], all_tools: Collection[str]) -> None:
        super().__init__(dict.fromkeys(tools, True))
        self._all_tools = all_tools

    def after_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Ask about all pending calls of the last message at once."""
        answered = {answer.tool_call_id for answer in state["messages"] if isinstance(answer, ToolMessage)}
        message = _last_ai_message(state)
        calls = [
            call for call in message.tool_calls if call["name"] in self.interrupt_on and call["id"] not in answered
        ]
        if not calls:
            return {"hitl_edited_tool_calls": {}} if state.get("hitl_edited_tool_calls") else None
        pairs = [
            self._create_action_and_config(call, self.interrupt_on[call["name"]], state, runtime) for call in calls
        ]
        request = HITLRequest(
            action_requests=[action for action, _ in pairs], review_configs=[config for _, config in pairs]
        )

        def validate(answer: HITLResponse) -> HITLResponse:
            if len(answer["decisions"]) != len(calls):
                raise ValueError(f"there have to be {len(calls)} decisions, one for each action")
            for decision in answer["decisions"]:
                if decision["type"] == "edit" and decision["edited_action"]["name"] not in self._all_tools:
                    raise ValueError(f"there is no tool {decision['edited_action']['name'][:60]!r}")
            return answer

        schema = Annotated[HITLResponse, AfterValidator(validate)]
        try:
            answer = interrupt(request, response_schema=schema)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the answer"
            raise InvalidRequest(f"resume: {where}: {first['msg'].removeprefix('Value error, ')}") from error
        edited, messages = {}, []
        for call, decision in zip(calls, answer["decisions"], strict=True):
            _, message_to_model = self._process_decision(decision, call, self.interrupt_on[call["name"]])
            messages += [message_to_model] if message_to_model else []
            if decision["type"] == "edit":
                edited[call["id"]] = decision["edited_action"]
        return {"messages": messages, "hitl_edited_tool_calls": edited}


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
        tokens = self._tokens // max(1, len(_last_ai_message(request.state).tool_calls))
        text = truncate(result.text, tokens)
        return result if text == result.text else result.model_copy(update={"content": text})


def _last_ai_message(state: AgentState[Any]) -> AIMessage:
    return next(message for message in reversed(state["messages"]) if isinstance(message, AIMessage))


class UnusableAnswers(Middleware):
    """Repairs unusable answers of the model: calls with malformed arguments, and messages without text."""

    async def aafter_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Refuse malformed calls, and replace an empty answer with an explanation."""
        del runtime
        message = state["messages"][-1]
        if not isinstance(message, AIMessage):
            return None
        repaired = _invalidate_truncated_call(message)
        if repaired.invalid_tool_calls:
            # Without arguments: a model server that parses those of earlier calls would reject the whole thread.
            calls = [
                ToolCall(
                    type="tool_call", name=call["name"] or "unknown", args={}, id=call["id"] or f"call_{uuid7().hex}"
                )
                for call in repaired.invalid_tool_calls
            ]
            update = {"tool_calls": [*repaired.tool_calls, *calls], "invalid_tool_calls": []}
            return {"messages": [repaired.model_copy(update=update), *map(_refusal, calls)]}
        if not repaired.tool_calls and not repaired.text.strip():
            return {"messages": [repaired.model_copy(update={"content": _replacement_text(repaired)})]}
        return None


def _invalidate_truncated_call(message: AIMessage) -> AIMessage:
    """Invalidate the last call of truncated output: a streamed call looks complete with half of its arguments."""
    if message.response_metadata.get("finish_reason") != "length" or not message.tool_calls:
        return message
    *complete, truncated = message.tool_calls
    invalid = InvalidToolCall(
        type="invalid_tool_call", id=truncated["id"], name=truncated["name"], args="", error="cut off"
    )
    return message.model_copy(
        update={"tool_calls": complete, "invalid_tool_calls": [*message.invalid_tool_calls, invalid]}
    )


def _refusal(call: ToolCall) -> ToolMessage:
    return ToolMessage(
        f"Error: {call['name']} was not called, because its arguments were no complete JSON object. Call it again with "
        "valid arguments.",
        tool_call_id=call["id"],
        name=call["name"],
        status="error",
    )


def _replacement_text(message: AIMessage) -> str:
    match message.response_metadata.get("finish_reason"):
        case "length":
            return _CUT_OFF
        case "content_filter":
            return _FILTERED
        case _:
            return _NO_ANSWER


class ModelCallLimit(ModelCallLimitMiddleware[Any, Any]):
    """Ends a run after a number of model calls: the last call has to answer, or the run ends with a fixed text."""

    def __init__(self, limit: int) -> None:
        super().__init__(run_limit=limit)
        self._limit = limit

    @hook_config(can_jump_to=["end"])
    def before_model(self, state: ModelCallLimitState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """End the run with a text for the user if the limit is reached."""
        update = super().before_model(state, runtime)
        return update and {**update, "messages": [AIMessage(_STOPPED)]}

    @hook_config(can_jump_to=["end"])
    async def abefore_model(self, state: ModelCallLimitState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """End the run with a text for the user if the limit is reached."""
        return self.before_model(state, runtime)

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Make the last call answer: the model could not read another tool's result."""
        done: int = request.state.get("run_model_call_count", 0)  # type: ignore[assignment]  # a field of the middleware's state
        if done == self._limit - 1 and self._limit > 1:
            instructions = request.system_message.text if request.system_message else ""
            request = request.override(
                tool_choice="none", system_message=SystemMessage(f"{instructions}\n\n{_LAST_CALL}".strip())
            )
        return await handler(request)
