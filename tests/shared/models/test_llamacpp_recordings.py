"""Answers of llama.cpp's own server, recorded byte by byte: `python -m tests.real_model.record`."""

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from local.model_server.written_calls import convert_completion
from shared.errors import InputTooLongForModel, ModelMisconfigured, ModelUnavailable, ServiceError
from shared.models.endpoint import EndpointChatModel
from shared.models.provider_fields import REASONING
from tests.support.scripted_model import ScriptedModel, sends

_FILE = Path(__file__).with_name("llamacpp_recordings.json")
RECORDED: dict[str, dict[str, Any]] = json.loads(_FILE.read_text(encoding="utf-8"))
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}]
PARIS = ("get_weather", {"city": "Paris"})


async def replay(chat_model: EndpointChatModel, model: ScriptedModel, name: str) -> AIMessage:
    recorded = RECORDED[name]
    model.does(sends(recorded["body"].encode(), recorded["content_type"], recorded["status"]))
    bound = chat_model.bind(tools=TOOLS)
    if not name.endswith(", streamed"):
        return await bound.ainvoke([HumanMessage("Hi")])
    first, *others = [piece async for piece in bound.astream([HumanMessage("Hi")])]
    result: Any = first
    for piece in others:
        result += piece
    message: AIMessage = result
    return message


def calls_of(message: AIMessage) -> list[tuple[str, dict[str, Any]]]:
    return [(call["name"], call["args"]) for call in message.tool_calls]


@pytest.mark.parametrize("name", ["text", "text, streamed"])
async def test_text_is_read(chat_model: EndpointChatModel, model: ScriptedModel, name: str) -> None:
    message = await replay(chat_model, model, name)

    assert message.content
    assert message.usage_metadata
    assert message.usage_metadata["output_tokens"] > 0


@pytest.mark.parametrize("name", ["call", "call, streamed"])
async def test_call_is_read(chat_model: EndpointChatModel, model: ScriptedModel, name: str) -> None:
    message = await replay(chat_model, model, name)

    assert calls_of(message) == [PARIS]
    assert message.content == ""
    assert message.response_metadata["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("name", ["call cut off", "call cut off, streamed"])
async def test_call_that_is_cut_off_is_invalid(chat_model: EndpointChatModel, model: ScriptedModel, name: str) -> None:
    """The arguments of such a call are the beginning of JSON, and the reason is the length."""
    message = await replay(chat_model, model, name)

    assert message.tool_calls == []
    assert [call["name"] for call in message.invalid_tool_calls] == ["get_weather"]


@pytest.mark.parametrize("name", ["call as text", "call as text, streamed", "required call as text"])
async def test_call_in_the_text_remains_text(chat_model: EndpointChatModel, model: ScriptedModel, name: str) -> None:
    """Only the embedded model server reads calls from text: an endpoint's answer may quote one.

    With `tool_choice: required` llama.cpp forbids the end of an answer without a call, so it ends at `max_tokens`.
    """
    message = await replay(chat_model, model, name)

    assert (message.tool_calls, message.invalid_tool_calls) == ([], [])
    assert '"name": "get_weather"' in str(message.content)
    assert message.response_metadata["finish_reason"] == ("length" if name.startswith("required") else "stop")


@pytest.mark.parametrize("name", ["call as text", "required call as text"])
def test_call_in_the_text_is_converted_by_the_embedded_server(name: str) -> None:
    answer = json.loads(RECORDED[name]["body"])
    convert_completion(answer, {"get_weather"})

    (choice,) = answer["choices"]
    (call,) = choice["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris"}
    assert (choice["message"]["content"], choice["finish_reason"]) == (None, "tool_calls")


@pytest.mark.parametrize(
    "name",
    ["reasoning", "reasoning, streamed", "reasoning in the text", "reasoning in the text, streamed", "only reasoning"],
)
async def test_reasoning_is_kept_apart(chat_model: EndpointChatModel, model: ScriptedModel, name: str) -> None:
    message = await replay(chat_model, model, name)

    assert message.additional_kwargs[REASONING].startswith("HTTP stands for")
    assert message.text.startswith("HTTP is a protocol") is (name != "only reasoning")
    assert "think" not in message.text + message.additional_kwargs[REASONING]


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("context exceeded", InputTooLongForModel),
        ("call without result at the end", ModelMisconfigured),
        ("arguments not JSON", ServiceError),
        ("arguments empty", ServiceError),
        ("malformed call", ModelUnavailable),
        ("malformed call, streamed", ModelUnavailable),
    ],
)
async def test_error_is_classified(
    chat_model: EndpointChatModel, model: ScriptedModel, name: str, error: type[ServiceError]
) -> None:
    """A malformed call is an error of llama.cpp, in a stream after a part of the call."""
    with pytest.raises(error):
        await replay(chat_model, model, name)


def test_every_recording_is_replayed() -> None:
    source = Path(__file__).read_text(encoding="utf-8")

    assert [name for name in RECORDED if f'"{name}"' not in source] == []
