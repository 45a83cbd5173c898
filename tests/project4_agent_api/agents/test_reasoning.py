"""Reasoning and fields of providers in the graphs, however they are executed."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage

from tests.project4_agent_api.agents.conftest import Conversation, Given, Talk, asked, last
from tests.support.scripted_model import PROFILES, Behaviour, Connection, ScriptedModel, chunk, sends, streams

REASONING, ANSWER = "Let me see.", "It is 42."
SUM = ("calculator", '{"expression": "6 * 7"}')
Execute = Callable[[Conversation, Given], Awaitable[object]]
WAYS: dict[str, Execute] = {
    "whole": Conversation.run,
    "streamed": Conversation.stream,
    "streamed as events": Conversation.events,
}


@pytest.fixture(params=WAYS)
def execute(request: pytest.FixtureRequest) -> Execute:
    """One of the ways to execute a graph."""
    return WAYS[request.param]


def forms(message: dict[str, Any], finish_reason: str = "stop") -> Behaviour:
    """Answer with a message, whole or in one chunk."""
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish_reason}
    whole = sends(json.dumps({"id": "c", "model": "m", "choices": [choice]}).encode())
    streamed = streams(chunk(message), chunk({}, finish_reason), b"[DONE]")

    async def behaviour(connection: Connection) -> None:
        await (streamed if connection.seen.body.get("stream") else whole)(connection)

    return behaviour


@pytest.mark.parametrize("profile", PROFILES)
async def test_agent_takes_turns_with_every_endpoint(
    talk: Talk, model: ScriptedModel, execute: Execute, profile: str
) -> None:
    model.profile = PROFILES[profile]
    wire = model.profile.wire
    # By the model's name, reasoning without an opening tag is expected.
    async with talk(llm_model="deepseek-r1") as conversation:
        for question in ("Six times seven?", "And now?"):
            model.then(
                wire.answers("", SUM, ("current_time", "{}"), reasoning=REASONING),
                wire.answers(ANSWER, reasoning="So."),
            )
            await execute(conversation, asked(question))
        thread = await conversation.messages()

    lost = {broken.param for broken in model.violations}
    assert lost <= {"body/stream_options"}  # it is left out then
    model.violations.clear()
    calling = [message for message in thread if isinstance(message, AIMessage) and message.tool_calls]
    assert len(calling) == 2
    assert {
        message.content for message in thread if isinstance(message, ToolMessage) and message.name == "calculator"
    } == {"42"}
    assert thread[-1].content == ANSWER
    assert {message.content for message in calling} == {""}
    if wire.reasoning:
        assert {message.additional_kwargs["reasoning_content"] for message in calling} == {REASONING}
        assert thread[-1].additional_kwargs["reasoning_content"] == "So."


@pytest.mark.parametrize(
    "message",
    [
        {"content": f"<think>{REASONING}</think>{ANSWER}"},
        {"content": ANSWER, "reasoning_content": REASONING},
        {"content": f"{REASONING}\n</think>\n\n{ANSWER}"},
    ],
)
async def test_stored_content_is_the_answer(
    talk: Talk, model: ScriptedModel, execute: Execute, message: dict[str, Any]
) -> None:
    async with talk() as conversation:
        model.does(forms(message))
        await execute(conversation, asked("Six times seven?"))
        answer = (await conversation.messages())[-1]

    assert isinstance(answer, AIMessage)
    assert (answer.content, answer.additional_kwargs["reasoning_content"]) == (ANSWER, REASONING)
    assert answer.content_blocks == [{"type": "reasoning", "reasoning": REASONING}, {"type": "text", "text": ANSWER}]


async def test_unexpected_reasoning_in_a_stream_is_not_stored_as_the_answer(
    talk: Talk, model: ScriptedModel, execute: Execute
) -> None:
    async with talk() as conversation:
        model.does(
            streams(
                chunk({"content": "Let me"}),
                chunk({"content": " see. </think>"}),
                chunk({"content": ANSWER}, "stop"),
                b"[DONE]",
            )
        )
        if execute is WAYS["whole"]:
            model.does(forms({"content": f"{REASONING} </think>{ANSWER}"}))
        await execute(conversation, asked("Six times seven?"))
        answer = (await conversation.messages())[-1]

    assert (answer.content, answer.additional_kwargs["reasoning_content"]) == (ANSWER, REASONING)
    assert "misplaced_reasoning" not in answer.additional_kwargs


async def test_reasoning_is_streamed_as_such(talk: Talk, model: ScriptedModel) -> None:
    model.does(
        streams(
            chunk({"content": "<think>Let"}),
            chunk({"content": " me</think>It"}),
            chunk({"content": " is"}, "stop"),
            b"[DONE]",
        )
    )
    async with talk() as conversation:
        pieces = await conversation.stream(asked("Six times seven?"))
        events = await conversation.events(asked("Again?"))

    chunks = [message for message, _ in pieces if message.type == "AIMessageChunk"]
    assert "".join(message.text for message in chunks) == "It is"
    assert "".join(message.additional_kwargs.get("reasoning_content", "") for message in chunks) == "Let me"
    deltas = [event["delta"] for event in events if event["event"] == "content-block-delta"]
    assert deltas == [
        {"type": "reasoning-delta", "reasoning": "Let"},
        {"type": "reasoning-delta", "reasoning": " me"},
        {"type": "text-delta", "text": "It"},
        {"type": "text-delta", "text": " is"},
    ]
    finished = [event["content"] for event in events if event["event"] == "content-block-finish"]
    assert finished == [{"type": "reasoning", "reasoning": "Let me"}, {"type": "text", "text": "It is"}]


async def test_reasoning_without_an_answer_is_an_empty_answer(
    talk: Talk, model: ScriptedModel, execute: Execute
) -> None:
    async with talk() as conversation:
        model.does(forms({"content": f"<think>{REASONING}"}))
        await execute(conversation, asked("Six times seven?"))
        thread = await conversation.messages()

    assert last(thread).startswith("The model gave no answer.")


async def test_reasoning_is_not_summarized(talk: Talk, model: ScriptedModel) -> None:
    async with talk(agent_context_tokens=1000) as conversation:
        model.does(forms({"content": f"<think>{REASONING}</think>" + "Words and words. " * 60}))
        for _ in range(4):
            await conversation.say("Tell me more, please.")

    prompts = [json.dumps(seen.body["messages"]) for seen in model.requests]
    assert any("You keep the notes" in prompt for prompt in prompts)
    assert not any(REASONING in prompt for prompt in prompts)
