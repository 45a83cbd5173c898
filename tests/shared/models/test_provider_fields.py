"""Fields of a provider go back to the model that sent them, and to no other."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    messages_from_dict,
    messages_to_dict,
)

from shared.models.endpoint import EndpointChatModel
from tests.shared.models.test_tool_call_forms import SIX, answered, call, streamed, text, whole
from tests.support.scripted_model import PROFILES, ScriptedModel, says

ChatModels = Callable[..., list[EndpointChatModel]]


def results(message: AIMessage) -> list[AnyMessage]:
    return [ToolMessage("42", tool_call_id=one["id"] or "") for one in message.tool_calls]


def stored(messages: list[AnyMessage]) -> list[AnyMessage]:
    """Return messages as they are read from a thread."""
    kept: list[AnyMessage] = messages_from_dict(json.loads(json.dumps(messages_to_dict(messages))))  # type: ignore[assignment]  # the union of the message types
    return kept


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("profile", PROFILES)
async def test_endpoints_accept_their_own_messages(
    chat_models: ChatModels, model: ScriptedModel, profile: str, *, stream: bool
) -> None:
    (chat_model,) = chat_models(llm_model="deepseek-r1")  # by its name, reasoning without an opening tag is expected
    model.profile = PROFILES[profile]
    wire = model.profile.wire
    model.then(
        wire.answers("", ("calculator", text(SIX)), ("current_time", "{}"), reasoning="Let me see."),
        wire.answers("It is 42.", reasoning="So."),
        wire.answers("It is noon.", reasoning="Now the time."),
        wire.answers("You are welcome."),
    )
    thread: list[AnyMessage] = [SystemMessage("Be brief."), HumanMessage("Six times seven, and the time?")]
    for question in ("And the time?", "Thanks.", ""):
        answer = await answered(chat_model, stream=stream, messages=stored(thread))
        if answer.tool_calls:
            assert answer.content == ""
            thread += [answer, *results(answer)]
            answer = await answered(chat_model, stream=stream, messages=stored(thread))
        assert "Let me see" not in str(answer.content)
        assert "</think>" not in str(answer.content)
        thread += [answer, HumanMessage(question or "Bye.")]

    assert {broken.param for broken in model.violations} <= {"body/stream_options"}  # it is left out then
    model.violations.clear()
    assert thread[5].content == "It is 42."
    if wire.reasoning:
        assert thread[2].additional_kwargs["reasoning_content"] == "Let me see."
        assert thread[5].additional_kwargs["reasoning_content"] == "So."


async def second_request(
    chat_model: EndpointChatModel,
    model: ScriptedModel,
    message: dict[str, Any],
    *,
    other: EndpointChatModel | None = None,
    stream: bool = False,
) -> list[dict[str, Any]]:
    """Return the messages of the request after a call, to the same model or another one."""
    delta = {key: value for key, value in message.items() if key != "content"}
    model.does(streamed({"content": message.get("content")}, delta) if stream else whole(message))
    asked = HumanMessage("Six times seven?")
    answer = await answered(chat_model, stream=stream, messages=[asked])
    model.does(says("It is 42."))
    await answered(other or chat_model, stream=stream, messages=[asked, *stored([answer, *results(answer)])])
    sent: list[dict[str, Any]] = model.requests[-1].body["messages"]
    return sent


FIELDS: list[dict[str, Any]] = [
    {"reasoning_content": "Let me see."},
    {"reasoning": "Let me see."},
    {
        "reasoning": "Let me see.",
        "reasoning_details": [{"type": "reasoning.encrypted", "data": "abc", "id": "r", "format": "f", "index": 0}],
    },
    {"reasoning_details": [{"type": "reasoning.text", "text": "Let me see.", "signature": "s", "index": 0}]},
    {"extra_content": {"google": {"thought_signature": "abc"}}},
    {
        "thinking_blocks": [{"type": "thinking", "thinking": "Let me see.", "signature": "s"}],
        "reasoning_content": "Let me see.",
    },
    {"reasoning_text": "Let me see.", "reasoning_opaque": "abc"},
]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fields", FIELDS)
async def test_fields_are_sent_back_in_the_tool_loop(
    chat_model: EndpointChatModel, model: ScriptedModel, fields: dict[str, Any], *, stream: bool
) -> None:
    message = {"content": None, "tool_calls": [call("calculator", text(SIX), index=0, id="a")]} | fields

    _, sent, _ = await second_request(chat_model, model, message, stream=stream)

    assert {key: value for key, value in sent.items() if key not in ("role", "content", "tool_calls")} == fields


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("fields", FIELDS)
async def test_fields_are_not_sent_to_another_model(
    chat_models: ChatModels, model: ScriptedModel, fields: dict[str, Any], *, stream: bool
) -> None:
    chat_model, other = chat_models(llm_fallback_models=["n"])
    calls = [call("calculator", text(SIX), index=0, id="a", extra_content={"google": {"thought_signature": "s"}})]

    _, sent, _ = await second_request(
        chat_model, model, {"content": None, "tool_calls": calls} | fields, other=other, stream=stream
    )

    assert sent.keys() == {"role", "content", "tool_calls"}
    assert sent["tool_calls"][0].keys() == {"type", "id", "function"}


@pytest.mark.parametrize("stream", [True, False])
async def test_signatures_are_sent_back_with_their_calls(
    chat_model: EndpointChatModel, model: ScriptedModel, *, stream: bool
) -> None:
    signature = {"google": {"thought_signature": "abc"}}
    calls = [call("calculator", text(SIX), id="", extra_content=signature), call("current_time", "{}", id="")]

    _, sent, *_ = await second_request(chat_model, model, {"content": None, "tool_calls": calls}, stream=stream)

    assert [one.get("extra_content") for one in sent["tool_calls"]] == [signature, None]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("id_", ["call_1__thought__c2ln", "functions.calculator:0"])
async def test_meaningful_ids_are_sent_back(
    chat_models: ChatModels, model: ScriptedModel, id_: str, *, stream: bool
) -> None:
    chat_model, other = chat_models(llm_fallback_models=["n"])
    message = {"content": None, "tool_calls": [call("calculator", text(SIX), index=0, id=id_)]}

    _, sent, result = await second_request(chat_model, model, message, stream=stream)
    assert (sent["tool_calls"][0]["id"], result["tool_call_id"]) == (id_, id_)

    _, sent, result = await second_request(chat_model, model, message, stream=stream, other=other)
    assert sent["tool_calls"][0]["id"] == result["tool_call_id"] != id_


async def test_repeated_meaningful_id_is_not_sent_back(chat_model: EndpointChatModel, model: ScriptedModel) -> None:
    id_ = "functions.calculator:0"
    model.does(whole({"content": None, "tool_calls": [call("calculator", text(SIX), id=id_)]}))
    thread: list[AnyMessage] = [HumanMessage("Hi")]
    for _ in range(3):
        answer = await answered(chat_model, stream=False, messages=thread)
        thread += [answer, *results(answer)]

    sent = [one["tool_calls"][0]["id"] for one in model.requests[-1].body["messages"] if "tool_calls" in one]
    assert len(set(sent)) == 2
    assert id_ not in sent


async def test_reasoning_is_sent_back_for_turns_with_calls_only(
    chat_model: EndpointChatModel, model: ScriptedModel
) -> None:
    model.does(whole({"content": "Hello.", "reasoning_content": "A greeting."}, "stop"))
    hello = await answered(chat_model, stream=False)
    model.does(whole({"content": None, "reasoning_content": "Let me see.", "tool_calls": [call("calculator", SIX)]}))
    calling = await answered(chat_model, stream=False)
    model.does(whole({"content": "It is 42.", "reasoning_content": ""}, "stop"))
    thread = [HumanMessage("Hi"), hello, HumanMessage("6 * 7?"), calling, *results(calling)]
    answer = await answered(chat_model, stream=False, messages=thread)

    await answered(chat_model, stream=False, messages=[*thread, answer, AIMessage("Stopped."), HumanMessage("Thanks.")])

    replies = [one for one in model.requests[-1].body["messages"] if one["role"] == "assistant"]
    assert [one.get("reasoning_content") for one in replies] == [None, "Let me see.", ""]


async def test_reasoning_in_the_text_is_sent_back_in_the_current_turn_only(
    chat_model: EndpointChatModel, model: ScriptedModel
) -> None:
    model.does(whole({"content": "<think>Let me see.</think>", "tool_calls": [call("calculator", SIX)]}))
    calling = await answered(chat_model, stream=False)
    thread: list[AnyMessage] = [HumanMessage("6 * 7?"), calling, *results(calling)]

    await answered(chat_model, stream=False, messages=thread)
    assert model.requests[-1].body["messages"][1]["content"] == "<think>\nLet me see.\n</think>\n\n"

    await answered(chat_model, stream=False, messages=[*thread, AIMessage("42"), HumanMessage("Thanks.")])
    assert model.requests[-1].body["messages"][1]["content"] is None


@pytest.mark.parametrize(
    "forged",
    [
        {"origin": "?", "source": "role", "fields": {"role": "system"}, "calls": {"a": {"id": ["x"], "function": "y"}}},
        {"origin": "?", "source": ["x"], "fields": [1], "calls": [2]},
        {"origin": "?", "calls": {"a": 7}},
        "x",
    ],
)
async def test_forged_fields_change_nothing(
    chat_model: EndpointChatModel, model: ScriptedModel, forged: object
) -> None:
    model.does(whole({"content": "Hi", "reasoning_content": "A greeting."}, "stop"))
    origin = (await answered(chat_model, stream=False)).additional_kwargs["provider_fields"]["origin"]
    forged = forged | {"origin": origin} if isinstance(forged, dict) else forged
    calls = [{"type": "tool_call", "name": "calculator", "args": SIX, "id": "a"}]
    message = AIMessage("Hi", tool_calls=calls, additional_kwargs={"provider_fields": forged, "reasoning_content": "x"})

    await answered(
        chat_model, stream=False, messages=[HumanMessage("Hi"), message, ToolMessage("42", tool_call_id="a")]
    )

    sent = model.requests[-1].body["messages"][1]
    assert sent["role"] == "assistant"
    assert sent.keys() <= {"role", "content", "tool_calls", "reasoning_content"}
    assert sent["tool_calls"][0]["function"]["name"] == "calculator"
    assert isinstance(sent["tool_calls"][0]["id"], str)


async def test_messages_have_no_name_and_the_assistants_plain_text(
    chat_model: EndpointChatModel, model: ScriptedModel
) -> None:
    blocks: list[Any] = [
        {"type": "reasoning", "reasoning": "Hm."},
        {"type": "text", "text": "It"},
        {"type": "text", "text": " is"},
    ]
    calls = [{"type": "tool_call", "name": "calculator", "args": SIX, "id": "a"}]
    thread: list[AnyMessage] = [
        HumanMessage("Hi", name="ada"),
        AIMessage("Hello.", name="agent"),
        HumanMessage("Is it?"),
        AIMessage(blocks, name="agent"),
        HumanMessage("6 * 7?"),
        AIMessage([{"type": "text", "text": ""}], name="agent", tool_calls=calls),
        ToolMessage("42", tool_call_id="a", name="calculator"),
    ]

    await answered(chat_model, stream=False, messages=thread)

    sent = model.requests[-1].body["messages"]
    assert [one.get("name") for one in sent] == [None] * 7
    assert [sent[place]["content"] for place in (1, 3, 5)] == ["Hello.", "It is", None]
