"""The agent's loop: what a model can do to it, and that every run ends in words."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.types import Command, Send

from project4_agent_api.agents.web.pages import WebPages
from project4_agent_api.graphs.registry import Graphs
from shared.errors import (
    ConfigurationError,
    InputFilteredByModel,
    InputTooLongForModel,
    ModelTimeout,
    ModelUnavailable,
    ServiceError,
)
from tests.project4_agent_api.agents.conftest import Conversation, Given, MakeServices, Talk, asked, last
from tests.support.scripted_model import (
    Behaviour,
    Connection,
    ScriptedModel,
    calls,
    fails,
    hangs,
    refuses,
    resets_after,
    says,
)

Streamed = Callable[[Conversation, Given], Awaitable[object]]
SUM = ("calculator", '{"expression": "6 * 7"}')


async def test_tool_result_is_sent_to_the_model(talk: Talk, model: ScriptedModel) -> None:
    async with talk() as conversation:
        model.then(calls(SUM), says("It is 42."))
        call, result, answer = await conversation.say("What is six times seven?")

    assert isinstance(call, AIMessage)
    assert call.tool_calls[0]["args"] == {"expression": "6 * 7"}
    assert isinstance(result, ToolMessage)
    assert (result.text, result.status) == ("42", "success")
    assert answer.text == "It is 42."
    system, user, _, told = model.requests[1].body["messages"]
    assert system["content"].startswith("You are a helpful assistant with tools.")
    assert user["content"] == "What is six times seven?"
    assert (told["role"], told["content"]) == ("tool", "42")
    offered = {one["function"]["name"] for one in model.requests[0].body["tools"]}
    assert offered == {"calculator", "current_time", "search_documents", "fetch_web_page", "remember", "recall"}
    assert "runtime" not in json.dumps(model.requests[0].body["tools"])


async def test_parallel_calls_are_assembled_from_fragments(talk: Talk, model: ScriptedModel) -> None:
    async with talk() as conversation:
        model.then(calls(SUM, ("calculator", '{"expression": "2 ** 10"}'), ("current_time", "{}")), says("Done."))
        pieces = await conversation.stream(asked("Two sums, and the time."))
        thread = await conversation.messages()

    results = [message.text for message in thread if isinstance(message, ToolMessage)]
    assert results[:2] == ["42", "1024"]
    assert "in UTC" in results[2]
    assert last(thread) == "Done."
    said = [message.text for message, _ in pieces if message.type == "AIMessageChunk"]
    assert "".join(said) == "Done."


@pytest.mark.parametrize("arguments", ["[6, 7]", '"6 * 7"', "no json at all", '{"expression": }', "null", ""])
async def test_malformed_arguments_are_reported_to_the_model(talk: Talk, model: ScriptedModel, arguments: str) -> None:
    async with talk() as conversation:
        model.then(calls(("calculator", arguments)), says("Sorry."))
        _, refusal, answer = await conversation.say("Six times seven?")
        thread = await conversation.messages()

    assert isinstance(refusal, ToolMessage)
    assert refusal.status == "error"
    assert "calculator" in refusal.text
    assert answer.text == "Sorry."
    assert len(thread) == 4


@pytest.mark.parametrize("arguments", ["[6, 7]", "no json at all", "null"])
@pytest.mark.parametrize("streamed", [Conversation.stream, Conversation.events])
async def test_malformed_streamed_arguments_are_reported_to_the_model(
    talk: Talk, model: ScriptedModel, arguments: str, streamed: Streamed
) -> None:
    async with talk() as conversation:
        model.then(calls(("calculator", arguments), SUM), says("Sorry."))
        await streamed(conversation, asked("Six times seven?"))
        thread = await conversation.messages()

    results = {message.status: message.text for message in thread if isinstance(message, ToolMessage)}
    assert results["success"] == "42"
    assert "calculator" in results["error"]
    assert last(thread) == "Sorry."
    for call in model.requests[1].body["messages"]:
        assert call["role"] != "assistant" or all(one["id"] for one in call["tool_calls"])


async def test_malformed_call_without_an_id_gets_a_tool_message(talk: Talk, model: ScriptedModel) -> None:
    async with talk() as conversation:
        model.then(calls(("calculator", "nonsense"), numbered=False), says("Sorry."))
        messages = await conversation.say("Six times seven?")

    assert last(messages) == "Sorry."
    asks, told = model.requests[1].body["messages"][-2:]
    assert asks["tool_calls"][0]["id"] == told["tool_call_id"]


@pytest.mark.parametrize("streamed", [Conversation.stream, Conversation.events])
async def test_truncated_call_is_not_executed(talk: Talk, model: ScriptedModel, streamed: Streamed) -> None:
    """The streamed part looks like a complete call, with half of its argument."""
    async with talk() as conversation:
        model.then(calls(("remember", '{"fact": "The code is 12'), finish_reason="length"), says("Sorry."))
        await streamed(conversation, asked("Remember: the code is 1234."))
        thread = await conversation.messages()
        kept = await conversation.store.asearch(("memories",))

    assert [message.status for message in thread if isinstance(message, ToolMessage)] == ["error"]
    assert kept == []
    assert last(thread) == "Sorry."


async def test_invalid_arguments_are_reported_to_the_model(talk: Talk, model: ScriptedModel) -> None:
    async with talk() as conversation:
        model.then(calls(("calculator", '{"sum": 1}')), calls(("remember", '{"fact": ""}')), says("Sorry."))
        messages = await conversation.say("Six times seven?")

    errors = [message for message in messages if isinstance(message, ToolMessage)]
    assert [message.status for message in errors] == ["error", "error"]
    assert "expression" in errors[0].text
    assert last(messages) == "Sorry."


async def test_unknown_tool_is_reported_to_the_model(talk: Talk, model: ScriptedModel) -> None:
    async with talk() as conversation:
        model.then(calls(("launch_rocket", '{"when": "now"}'), SUM), says("I cannot do that."))
        messages = await conversation.say("Launch it.")

    errors = [message for message in messages if isinstance(message, ToolMessage) and message.status == "error"]
    assert "launch_rocket is not a valid tool" in errors[0].text
    assert last(messages) == "I cannot do that."


async def test_endless_loop_ends_with_an_answer(talk: Talk, model: ScriptedModel) -> None:
    """The last model call is instructed to answer; a model that complies does."""

    async def loops(connection: Connection) -> None:
        forced = connection.seen.body.get("tool_choice") == "none"
        await (says("So far: 42.") if forced else calls(SUM))(connection)

    async with talk(agent_max_model_calls=4) as conversation:
        model.does(loops)
        assert last(await conversation.say("Go on for ever.")) == "So far: 42."
        assert len(model.requests) == 4
        assert "cannot call any more tools" in model.requests[3].body["messages"][0]["content"]

        assert last(await conversation.say("And again.")) == "So far: 42."
        assert len(model.requests) == 8  # each run has its own count


@pytest.mark.parametrize("arguments", ['{"expression": "1+1"}', "malformed"])
async def test_persistent_endless_loop_ends_with_a_text(talk: Talk, model: ScriptedModel, arguments: str) -> None:
    async with talk(agent_max_model_calls=4) as conversation:
        model.does(calls(("calculator", arguments)))
        messages = await conversation.say("Go on for ever.")
        assert "more steps than one run may take" in last(messages)
        assert len(model.requests) == 4

        model.says("Hello again.")
        assert last(await conversation.say("Hello?")) == "Hello again."


async def test_model_calls_from_a_command_are_limited(talk: Talk, model: ScriptedModel) -> None:
    async with talk(agent_max_model_calls=4) as conversation:
        model.says("Hello.")
        messages = (await conversation.run(Command(goto=[Send("model", asked("Hello?"))] * 20)))["messages"]

    assert len(model.requests) == 4
    assert [message.text for message in messages].count("Hello.") == 4
    assert "more steps than one run may take" in last(messages)


@pytest.mark.parametrize(
    "arguments",
    [
        r'{"expression": "\ud800"}',
        r'{"expression": "\u0000"}',
        r'{"\ud800": 1}',
        f'{{"expression": {2**64}}}',
        '{"expression": 1e999}',
        f'{{"expression": {"[" * 300}{"]" * 300}}}',
    ],
)
@pytest.mark.parametrize("streamed", [Conversation.run, Conversation.stream, Conversation.events])
async def test_call_with_arguments_that_cannot_be_stored_is_refused(
    talk: Talk, model: ScriptedModel, arguments: str, streamed: Streamed
) -> None:
    async with talk() as conversation:
        model.then(calls(("calculator", arguments)), says("It is 42."))
        await streamed(conversation, asked("A sum."))
        _, call, result, answer = await conversation.messages()

    assert isinstance(call, AIMessage)
    assert [made["args"] for made in call.tool_calls] == [{}]
    assert "cannot be stored" in result.text
    assert answer.text == "It is 42."


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        (refuses("I cannot help with that."), "I cannot help with that."),
        (says(""), "gave no answer"),
        (says("  \n "), "gave no answer"),
        (says("", finish_reason="length"), "cut off"),
        (says("", finish_reason="content_filter"), "withheld"),
    ],
)
@pytest.mark.parametrize("streamed", [Conversation.run, Conversation.stream, Conversation.events])
async def test_unusable_answer_ends_with_a_text(
    talk: Talk, model: ScriptedModel, behaviour: Behaviour, words: str, streamed: Streamed
) -> None:
    async with talk() as conversation:
        model.does(behaviour)
        await streamed(conversation, asked("Hm?"))
        thread = await conversation.messages()

    assert words in last(thread)
    assert len(thread) == 2


async def test_fallback_model_answers(talk: Talk, model: ScriptedModel) -> None:
    async with talk(llm_fallback_models="second,third") as conversation:
        model.then(fails(500), resets_after(0), calls(SUM), says("It is 42."))
        assert last(await conversation.say("Six times seven?")) == "It is 42."

    assert [request.body["model"] for request in model.requests] == ["m", "second", "third", "m"]
    assert all(request.body["tools"] for request in model.requests)


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [(fails(500), ModelUnavailable), (hangs(), ModelTimeout), (resets_after(2), ModelUnavailable)],
    ids=["fails", "hangs", "resets"],
)
async def test_unavailable_model_fails_the_run_only(
    talk: Talk, model: ScriptedModel, behaviour: Behaviour, error: type[ServiceError]
) -> None:
    async with talk(llm_timeout_seconds=5) as conversation:
        model.does(behaviour)
        with pytest.raises(error):
            await conversation.stream(asked("Hello?"))

        model.says("Hello!")
        assert last(await conversation.say("Are you there?")) == "Hello!"


@pytest.mark.parametrize(
    ("code", "error"),
    [("context_length_exceeded", InputTooLongForModel), ("content_filter", InputFilteredByModel)],
)
async def test_refused_input_is_not_sent_to_the_fallback(
    talk: Talk, model: ScriptedModel, code: str, error: type[ServiceError]
) -> None:
    async with talk(llm_fallback_models="second") as conversation:
        model.fails(400, error={"message": "no", "code": code})
        with pytest.raises(error):
            await conversation.say("Hello?")

    assert [request.body["model"] for request in model.requests] == ["m"]


async def test_too_long_input_is_reported(talk: Talk, model: ScriptedModel) -> None:
    async with talk() as conversation:
        model.fails(400, error={"message": "too long", "type": "invalid", "code": "context_length_exceeded"})
        with pytest.raises(InputTooLongForModel):
            await conversation.say("word " * 10)


@tool
async def broken() -> str:
    """Break."""
    raise KeyError("a secret of the library's")


@tool
async def slow() -> str:
    """Take for ever."""
    await asyncio.Event().wait()
    return ""


@tool
async def long() -> str:
    """Say much."""
    return "word " * 100_000


async def test_failed_tool_does_not_fail_the_run(make_services: MakeServices, model: ScriptedModel, talk: Talk) -> None:
    del make_services
    tools: tuple[BaseTool, ...] = (broken, slow, long)
    async with talk(mcp_tools=tools, agent_tool_timeout_seconds=2) as conversation:
        model.then(calls(("broken", "{}"), ("slow", "{}"), ("long", "{}")), says("Two failed."))
        messages = await conversation.say("Try them all.")

    results = [message for message in messages if isinstance(message, ToolMessage)]
    assert [message.status for message in results] == ["error", "error", "success"]
    assert "Something went wrong" in results[0].text
    assert "secret" not in results[0].text
    assert "took too long" in results[1].text
    assert len(results[2].text) < 4 * 6000
    assert results[2].text.endswith("[…]")
    assert last(messages) == "Two failed."


async def test_unknown_approval_tool_is_refused_at_start(make_services: MakeServices) -> None:
    async with make_services(agent_approval_tools="fetch_webpage") as services:
        with pytest.raises(ConfigurationError, match="AGENT_APPROVAL_TOOLS: there is no tool fetch_webpage") as refused:
            await Graphs.load(None, services)

    assert "\n" not in str(refused.value)


async def test_no_approval_unless_configured(talk: Talk, model: ScriptedModel) -> None:
    async with talk(agent_approval_tools="none", web=WebPages(5, 1000)) as conversation:
        model.then(calls(("fetch_web_page", '{"url": "http://127.0.0.1/"}')), says("No."))
        assert last(await conversation.say("Fetch it.")) == "No."


async def test_unavailable_model_with_failing_fallback_fails_the_run(talk: Talk, model: ScriptedModel) -> None:
    async with talk(llm_fallback_models="second") as conversation:
        model.does(fails(503))
        with pytest.raises(ModelUnavailable):
            await conversation.say("Hello?")

    assert len(model.requests) == 2
