"""What stands around the agent's model and tools, so that every run ends, and ends with words.

LangChain's own middleware is used where it does this; here is what it leaves open.
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

from project4_agent_api.agents.summarization import clipped
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
    """Asks a person before some tools are called: LangChain's middleware, and its form of question and answer.

    LangChain's own keeps an answer before it looks at it, so that one of the wrong form is met again at every further
    try, and the thread is lost. Here it is checked first, and can be given again.

    Args:
        tools: Whose calls are asked about.
        known: All tools that a call can be changed to.
    """

    def __init__(self, tools: Collection[str], known: Collection[str]) -> None:
        super().__init__(dict.fromkeys(tools, True))
        self._known = known

    def after_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Ask about the calls of the last message that are still to be made, all at once."""
        answered = {answer.tool_call_id for answer in state["messages"] if isinstance(answer, ToolMessage)}
        message = next(one for one in reversed(state["messages"]) if isinstance(one, AIMessage))
        calls = [
            call for call in message.tool_calls if call["name"] in self.interrupt_on and call["id"] not in answered
        ]
        if not calls:
            return {"hitl_edited_tool_calls": {}} if state.get("hitl_edited_tool_calls") else None
        asked = [
            self._create_action_and_config(call, self.interrupt_on[call["name"]], state, runtime) for call in calls
        ]
        request = HITLRequest(
            action_requests=[action for action, _ in asked], review_configs=[config for _, config in asked]
        )

        def fits(answer: HITLResponse) -> HITLResponse:
            if len(answer["decisions"]) != len(calls):
                raise ValueError(f"there have to be {len(calls)} decisions, one for each action")
            for decision in answer["decisions"]:
                if decision["type"] == "edit" and decision["edited_action"]["name"] not in self._known:
                    raise ValueError(f"there is no tool {decision['edited_action']['name'][:60]!r}")
            return answer

        schema = Annotated[HITLResponse, AfterValidator(fits)]
        try:
            answer = interrupt(request, response_schema=schema)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the answer"
            raise InvalidRequest(f"resume: {where}: {first['msg'].removeprefix('Value error, ')}") from error
        edited, messages = {}, []
        for call, decision in zip(calls, answer["decisions"], strict=True):
            _, told = self._process_decision(decision, call, self.interrupt_on[call["name"]])
            messages += [told] if told else []
            if decision["type"] == "edit":
                edited[call["id"]] = decision["edited_action"]
        return {"messages": messages, "hitl_edited_tool_calls": edited}


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

    async def aafter_model(self, state: AgentState[Any], runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Refuse malformed calls, and say so where there is no answer."""
        del runtime
        message = state["messages"][-1]
        if not isinstance(message, AIMessage):
            return None
        mended = _without_cut_off_call(message)
        if mended.invalid_tool_calls:
            # Without arguments: an endpoint that reads those of earlier calls would refuse the whole thread.
            calls = [
                ToolCall(
                    type="tool_call", name=call["name"] or "unknown", args={}, id=call["id"] or f"call_{uuid7().hex}"
                )
                for call in mended.invalid_tool_calls
            ]
            update = {"tool_calls": [*mended.tool_calls, *calls], "invalid_tool_calls": []}
            return {"messages": [mended.model_copy(update=update), *map(_refused, calls)]}
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


def _refused(call: ToolCall) -> ToolMessage:
    return ToolMessage(
        f"Error: {call['name']} was not called, because its arguments were no complete JSON object. Call it again with "
        "valid arguments.",
        tool_call_id=call["id"],
        name=call["name"],
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
