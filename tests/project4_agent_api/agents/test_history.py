"""Histories that have lost results: the next message is accepted, and the repair is stored."""

import asyncio
from collections.abc import Sequence
from time import process_time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    InvalidToolCall,
    SystemMessage,
    ToolCall,
    ToolMessage,
    convert_to_openai_messages,
)
from langchain_core.tools import BaseTool, tool
from langgraph.errors import GraphRecursionError

from project4_agent_api.agents.history import repair, unanswered_calls
from tests.project4_agent_api.agents.conftest import Talk, asked, last
from tests.support.scripted_model import ScriptedModel, calls, hangs, says
from tests.support.scripted_model.profiles import STRICTEST
from tests.support.scripted_model.strictness import (
    call_ids_are_unique_in_the_thread,
    call_ids_are_unique_strings,
    tool_results_follow_their_calls,
)

SUM = ("calculator", '{"expression": "6 * 7"}')


@pytest.fixture(autouse=True)
def strict(model: ScriptedModel) -> None:
    model.profile = STRICTEST


def call(call_id: str | None, name: str = "calculator") -> ToolCall:
    return ToolCall(type="tool_call", id=call_id, name=name, args={"expression": "1"})


def result(call_id: str, text: str = "1") -> ToolMessage:
    return ToolMessage(text, tool_call_id=call_id, name="calculator")


def texts(messages: Sequence[BaseMessage]) -> list[str]:
    return [message.text for message in messages if isinstance(message, ToolMessage)]


def violations(messages: Sequence[BaseMessage]) -> list[str]:
    body = {"messages": convert_to_openai_messages(messages)}
    rules = (tool_results_follow_their_calls, call_ids_are_unique_strings, call_ids_are_unique_in_the_thread)
    return [str(violation) for rule in rules for violation in rule(body)]


class TestRepair:
    def test_complete_history_stays_the_same(self) -> None:
        messages = [
            HumanMessage("a"),
            AIMessage("", tool_calls=[call("1"), call("2")]),
            result("2"),
            result("1"),
            AIMessage("b"),
        ]
        ordered = [messages[0], messages[1], messages[3], messages[2], messages[4]]
        assert repair(messages) == ordered
        repaired = repair(ordered)
        assert len(repaired) == len(ordered)
        assert all(one is other for one, other in zip(repaired, ordered, strict=True))

    def test_call_without_a_result_is_answered_as_stopped(self) -> None:
        messages = [AIMessage("", tool_calls=[call("1"), call("2")]), result("2", "two"), HumanMessage("b")]
        repaired = repair(messages)
        assert texts(repaired) == ["Stopped: calculator has no result, because the run ended before it did.", "two"]
        assert isinstance(repaired[3], HumanMessage)
        assert repair(repaired) == repaired

    def test_late_result_takes_the_place_of_the_stopped_one(self) -> None:
        repaired = repair([AIMessage("", tool_calls=[call("1")]), HumanMessage("b")])
        assert texts(repair([*repaired, result("1", "late")])) == ["late"]

    @pytest.mark.parametrize("call_id", ["1", "", None])
    def test_repeated_ids_are_replaced_in_order(self, call_id: str | None) -> None:
        messages = [
            AIMessage("", tool_calls=[call(call_id), call(call_id)]),
            result(call_id or "", "a"),
            result(call_id or "", "b"),
            AIMessage("", tool_calls=[call(call_id)]),
            result(call_id or "", "c"),
        ]
        repaired = repair(messages)
        assert texts(repaired) == ["a", "b", "c"]
        assert violations(repaired) == []

    def test_result_without_a_call_is_left_out(self) -> None:
        messages = [HumanMessage("a"), result("1"), AIMessage("", tool_calls=[call("2")]), result("2"), result("2")]
        assert [type(message) for message in repair(messages)] == [HumanMessage, AIMessage, ToolMessage]

    def test_unreadable_call_is_answered_as_not_called(self) -> None:
        invalid = InvalidToolCall(type="invalid_tool_call", id=None, name="calculator", args="{", error=None)
        repaired = repair([AIMessage("", invalid_tool_calls=[invalid], tool_calls=[call("1")]), HumanMessage("b")])
        stopped, refused = texts(repaired)
        assert stopped.startswith("Stopped")
        assert "no complete JSON object" in refused
        assert violations(repaired) == []

    def test_long_thread_without_results_is_repaired_in_linear_time(self) -> None:
        messages = [AIMessage("", tool_calls=[call(str(number))]) for number in range(10_000)]
        began = process_time()
        assert len(repair(messages)) == 20_000
        assert process_time() - began < 20  # 50 s if each call reads all messages

    def test_unanswered_calls_are_found_by_position(self) -> None:
        message = AIMessage("", tool_calls=[call("1"), call("1"), call("2")])
        assert list(unanswered_calls([message, result("1")])) == [1, 2]
        assert unanswered_calls([HumanMessage("a")]) == {}


_IDS = st.sampled_from(["1", "2", "", "c:0"])
_MESSAGES = st.one_of(
    st.just(HumanMessage("a")),
    st.just(SystemMessage("s")),
    st.sampled_from(["", "b"]).map(AIMessage),
    st.lists(_IDS, min_size=1, max_size=3).map(lambda ids: AIMessage("", tool_calls=[call(one) for one in ids])),
    _IDS.map(result),
)


@settings(max_examples=500, derandomize=True, deadline=None)
@given(st.lists(_MESSAGES, max_size=12))
def test_any_history_can_be_repaired(messages: list[Any]) -> None:
    repaired = repair(messages)
    assert violations(repaired) == []
    assert repair(repaired) == repaired
    said = [message for message in messages if isinstance(message, HumanMessage | SystemMessage)]
    assert [message for message in repaired if isinstance(message, HumanMessage | SystemMessage)] == said


class Waiting:
    """A tool that does not end."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    def tool(self) -> BaseTool:
        @tool
        async def wait() -> str:
            """Wait."""
            self.reached.set()
            await asyncio.Event().wait()
            return ""

        return wait


class TestThread:
    """Each way in which a run of the agent loses results; `strict` refuses the next message otherwise."""

    async def test_run_is_cancelled_during_a_call(self, talk: Talk, model: ScriptedModel) -> None:
        waiting = Waiting()
        async with talk(mcp_tools=(waiting.tool(),)) as conversation:
            model.then(calls(SUM, ("wait", "{}")), says("Never mind."))
            run = asyncio.create_task(conversation.run(asked("Wait.")))
            await waiting.reached.wait()
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)

            assert last(await conversation.say("Forget it.")) == "Never mind."
            stored = await conversation.messages()

        assert [text.partition(":")[0] for text in texts(stored)][-1] == "Stopped"
        assert violations(stored) == []

    async def test_message_is_sent_instead_of_an_approval(self, talk: Talk, model: ScriptedModel) -> None:
        async with talk(agent_approval_tools="calculator") as conversation:
            model.then(calls(SUM), says("Very well."))
            assert (await conversation.run(asked("A sum.")))["__interrupt__"]
            assert last(await conversation.say("Forget it.")) == "Very well."
            assert texts(await conversation.messages())[0].startswith("Stopped: calculator")

    async def test_run_is_interrupted_before_its_tools(self, talk: Talk, model: ScriptedModel) -> None:
        async with talk() as conversation:
            model.then(calls(SUM), says("Very well."))
            await conversation.run(asked("A sum."), interrupt_before=["tools"])
            assert last(await conversation.say("Forget it.")) == "Very well."

    async def test_state_is_written(self, talk: Talk, model: ScriptedModel) -> None:
        async with talk() as conversation:
            model.says("Very well.")
            await conversation.update({"messages": [HumanMessage("A sum."), AIMessage("", tool_calls=[call("c:0")])]})
            await conversation.update({"messages": [result("c:1"), AIMessage(""), result("c:0", "late")]})
            assert last(await conversation.say("And now?")) == "Very well."
            assert texts(await conversation.messages()) == ["late"]

    async def test_fork_begins_between_call_and_result(self, talk: Talk, model: ScriptedModel) -> None:
        async with talk() as conversation:
            model.then(calls(SUM), says("42."), says("Very well."))
            await conversation.say("A sum.")
            (before_tools, *_) = await conversation.checkpoints("tools")
            result = await conversation.run(asked("Something else."), before_tools)
            assert last(result["messages"]) == "Very well."

    async def test_run_reaches_the_recursion_limit(self, talk: Talk, model: ScriptedModel) -> None:
        async with talk() as conversation:
            model.does(calls(SUM))
            for limit in range(3, 12):
                with pytest.raises(GraphRecursionError):
                    await conversation.run(asked("Sums."), recursion_limit=limit)
            model.says("Very well.")
            assert last(await conversation.say("And now?")) == "Very well."

    async def test_model_is_cancelled_while_it_answers(self, talk: Talk, model: ScriptedModel) -> None:
        async with talk() as conversation:
            model.does(hangs(after=2))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await conversation.stream(asked("Hello?"))
            model.says("Very well.")
            assert last(await conversation.say("And now?")) == "Very well."
