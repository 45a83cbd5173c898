"""Human approval of tool calls: no call of a tool that requires it runs without an approval of its own."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Annotated, Any, NotRequired
from uuid import UUID, uuid5

from langchain.agents.middleware import AgentState, HumanInTheLoopMiddleware, ToolCallRequest
from langchain.agents.middleware.human_in_the_loop import Action, Decision, HITLRequest
from langchain.agents.middleware.types import PrivateStateAttr
from langchain_core.messages import ToolCall, ToolMessage
from langgraph.runtime import ExecutionInfo, Runtime
from langgraph.types import Command, interrupt
from pydantic import AfterValidator, Discriminator, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from project4_agent_api.agents.grants import Grants
from project4_agent_api.agents.history import failed, last_ai_message, unanswered_calls
from project4_agent_api.agents.limits import RunCounts
from shared.errors import InvalidRequest

_NAMESPACE = UUID("6f7d1a52-53f0-4a5e-9d0e-3c1f4f1f6c53")

ToolResult = ToolMessage | Command[Any]


class ApprovedCall(TypedDict):
    """The approval of a call of the last message, at a position in its `tool_calls`."""

    message_id: str | None
    position: int
    grant_id: UUID
    action: Action


_APPROVED_CALLS = TypeAdapter(list[ApprovedCall])


class Answer(TypedDict):
    """The answer to a question. It is LangChain's, but an error names the field of the decision's own type."""

    decisions: list[Annotated[Decision, Discriminator("type")]]


class ApprovalState(AgentState[Any]):
    """The agent's state with the approvals of the last message's calls."""

    approved_calls: NotRequired[Annotated[list[ApprovedCall], PrivateStateAttr]]


class Approval(HumanInTheLoopMiddleware[Any, Any, Any]):
    """Asks a person before some tools are called, with the request and response of LangChain's middleware.

    Two things differ from LangChain's:

    - It validates a response before it is stored. A malformed one would fail every later attempt on the thread.
    - The message's calls are asked about together, but an approval is checked and used up where the tool is called.
      Calls are identified by their position, because models and clients repeat ids. A call that arrives there without
      an unused approval, through `command.goto`, an update of the state, a fork or a second attempt, is asked about
      at that point. A command can make one task call several tools: there, one of them is asked about and the others
      are refused, because LangGraph pairs a task's answers with its questions by their order, which is chance.

    Args:
        tools: Names of the tools that need approval.
        all_tools: Names of all tools that a call can be changed to.
        grants: The stored approvals.
    """

    state_schema = ApprovalState  # type: ignore[assignment]  # the base class declares its own state

    def __init__(self, tools: Collection[str], all_tools: Collection[str], grants: Grants) -> None:
        super().__init__(dict.fromkeys(tools, True))
        self._all_tools = all_tools
        self._grants = grants
        self._questions = RunCounts()

    async def aafter_model(self, state: ApprovalState, runtime: Runtime[Any]) -> dict[str, Any] | None:  # type: ignore[override]  # of the declared state
        """Ask about all pending calls of the last message at once."""
        pending = {
            position: call
            for position, call in unanswered_calls(state["messages"]).items()
            if call["name"] in self.interrupt_on
        }
        if not pending:
            return {"approved_calls": []} if state.get("approved_calls") else None
        decisions = self._ask(list(pending.values()), state, runtime)
        message = last_ai_message(state["messages"])
        answers, approved = [], list[ApprovedCall]()
        execution = _execution(runtime.execution_info)
        for (position, call), decision in zip(pending.items(), decisions, strict=True):
            result = self._resolve(call, decision)
            if isinstance(result, ToolMessage):
                answers.append(result)
            else:
                grant_id = _grant_id(execution, position)
                message_id = message.id if message else None
                approved.append(
                    ApprovedCall(message_id=message_id, position=position, grant_id=grant_id, action=result)
                )
        issued = {approval["grant_id"]: approval["action"] for approval in approved}
        await self._grants.issue(_thread_id(execution), issued)
        return {"messages": answers, "approved_calls": approved}

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolResult]]
    ) -> ToolResult:
        """Call the tool if the call is approved; ask if it is not."""
        call = request.tool_call
        if call["name"] not in self.interrupt_on:
            return await handler(request)
        approved = await self._approved_action(request)
        if isinstance(approved, ToolMessage):
            return approved
        if approved == _action(call):
            return await handler(request)
        request = self._apply_edit(request, approved)
        return self._annotate_edited_result(await handler(request), request, approved)

    def wrap_tool_call(self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolResult]) -> ToolResult:
        """Refuse: approvals are read asynchronously."""
        raise NotImplementedError

    async def _approved_action(self, request: ToolCallRequest) -> Action | ToolMessage:
        """Return the approved action, or the result that takes its place."""
        call, execution = request.tool_call, _execution(request.runtime.execution_info)
        if approved := await self._use_approval(request, execution):
            return approved
        question_id = _grant_id(execution, "question")
        claimed = await self._grants.claim_question(_thread_id(execution), question_id, _action(call))
        # Of equal calls all claim it: the first to come here asks.
        if not claimed or self._questions.increment(request.runtime.config, question_id) > 1:
            return failed(call, f"Error: {call['name']} was not called: it needs an approval. Call it again, alone.")
        (decision,) = self._ask([call], request.state, request.runtime)
        action = self._resolve(call, decision)
        if isinstance(action, ToolMessage):
            return action
        grant_id = _grant_id(execution, "answer")
        await self._grants.issue(_thread_id(execution), {grant_id: action})
        if await self._grants.use(_thread_id(execution), grant_id, action):
            return action
        text = f"Stopped: {action['name']} was approved and started, but did not end. Its effect is unknown."
        return failed(call, text)

    async def _use_approval(self, request: ToolCallRequest, execution: ExecutionInfo) -> Action | None:
        """Use up an approval of this call that was given with the others of its message."""
        message = last_ai_message(request.state.get("messages", []))
        calls = message.tool_calls if message else []
        for approval in _approved_calls(request.state):
            # Calls that are equal in name, arguments and id are interchangeable.
            is_this_call = calls[approval["position"] :][:1] == [request.tool_call]
            if (
                message
                and approval["message_id"] == message.id
                and is_this_call
                and await self._grants.use(_thread_id(execution), approval["grant_id"], approval["action"])
            ):
                return approval["action"]
        return None

    def _ask(self, calls: Sequence[ToolCall], state: Any, runtime: Any) -> Sequence[Decision]:  # noqa: ANN401  either kind of runtime
        pairs = [
            self._create_action_and_config(call, self.interrupt_on[call["name"]], state, runtime) for call in calls
        ]
        request = HITLRequest(
            action_requests=[action for action, _ in pairs], review_configs=[config for _, config in pairs]
        )

        def validate(answer: Answer) -> Answer:
            if len(answer["decisions"]) != len(calls):
                raise ValueError(f"there have to be {len(calls)} decisions, one for each action")
            for decision in answer["decisions"]:
                if decision["type"] == "edit" and decision["edited_action"]["name"] not in self._all_tools:
                    raise ValueError(f"there is no tool {decision['edited_action']['name'][:60]!r}")
            return answer

        schema = Annotated[Answer, AfterValidator(validate)]
        try:
            answer: Answer = interrupt(request, response_schema=schema)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "the answer"
            raise InvalidRequest(f"resume: {where}: {first['msg'].removeprefix('Value error, ')}") from error
        return answer["decisions"]

    def _resolve(self, call: ToolCall, decision: Decision) -> Action | ToolMessage:
        """Return the action to execute, or the result that takes its place."""
        _, message_to_model = self._process_decision(decision, call, self.interrupt_on[call["name"]])
        if message_to_model:
            return message_to_model
        return decision["edited_action"] if decision["type"] == "edit" else _action(call)


def _action(call: ToolCall) -> Action:
    return Action(name=call["name"], args=call["args"])


def _approved_calls(state: Any) -> list[ApprovedCall]:  # noqa: ANN401  a state, which a client can write
    """Return the approvals in a state; none if they are malformed."""
    try:
        return _APPROVED_CALLS.validate_python(state.get("approved_calls") or [])
    except ValidationError:
        return []


def _grant_id(execution: ExecutionInfo, part: object) -> UUID:
    """Derive an id from the task. A copy of a thread has the same tasks."""
    return uuid5(_NAMESPACE, f"{execution.thread_id}/{execution.task_id}/{part}")


def _execution(info: ExecutionInfo | None) -> ExecutionInfo:
    if info is None:
        raise RuntimeError("approvals need a graph that runs on a thread")
    return info


def _thread_id(execution: ExecutionInfo) -> str:
    return execution.thread_id or ""
