"""Messages in the forms of other providers and of clients are sent in one that the strictest endpoint accepts."""

from typing import Any

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)

from shared.errors import InputKindNotSupported
from shared.models.endpoint import EndpointChatModel
from shared.models.sent_messages import acceptable
from tests.support.scripted_model import ScriptedModel, says
from tests.support.scripted_model.profiles import STRICTEST

FUNCTION_CALL = {"function_call": {"name": "calculator", "arguments": "{}"}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def called(name: str = "calculator", content: str | list[Any] = "42") -> list[BaseMessage]:
    call = ToolCall(type="tool_call", id="a", name=name, args={})
    return [AIMessage("", tool_calls=[call]), ToolMessage(content, tool_call_id="a")]


THREADS: dict[str, list[BaseMessage]] = {
    "a function of OpenAI's older form": [
        AIMessage("", additional_kwargs=FUNCTION_CALL),
        FunctionMessage(content="42", name="calculator"),
    ],
    "a call of OpenAI's older form beside a text": [AIMessage("Hm.", additional_kwargs=FUNCTION_CALL)],
    "a call of OpenAI's older form alone": [AIMessage("", additional_kwargs=FUNCTION_CALL)],
    "another role": [ChatMessage(content="Hm.", role="critic")],
    "a developer": [ChatMessage(content="Be brief.", role="developer")],
    "two system messages": [SystemMessage("Be brief."), AIMessage("Hm."), SystemMessage("Be polite.")],
    "a system message in parts": [SystemMessage([{"type": "text", "text": "Be brief."}, IMAGE])],
    "a user's name": [HumanMessage("Hi", name="Jörg Müller")],
    "a name among the fields": [HumanMessage("Hi", additional_kwargs={"name": "J. M."})],
    "an empty name": [HumanMessage("Hi", name="")],
    "a tool's name": called("my tool!"),
    "a tool's name that is empty": called(""),
    "a tool's name that is long": called("x" * 200),
    "an image as a result": called(content=[IMAGE]),
    "an image beside a result": called(
        content=[{"type": "text", "text": "42"}, {"type": "image", "url": "https://example.org/a.png"}]
    ),
    "JSON as a result": called(content=[{"a": 1}]),
    "nothing as a result": called(content=[]),
    "blocks of Anthropic": [
        AIMessage([{"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "text", "text": "42"}])
    ],
    "a call as a block": [AIMessage([{"type": "tool_use", "id": "a", "name": "calculator", "input": {}}])],
    "a block of another provider": [AIMessage([{"type": "non_standard", "value": {"a": 1}}])],
    "a call of a server": [AIMessage([{"type": "server_tool_call", "id": "a", "name": "search", "args": {}}])],
    "an empty part": [HumanMessage([{"type": "text", "text": ""}])],
    "texts": [HumanMessage(["a", "b"])],
    "no parts": [HumanMessage([])],
    "a file of text": [HumanMessage([{"type": "text-plain", "text": "a", "mime_type": "text/plain"}])],
}


@pytest.mark.parametrize("name", THREADS)
async def test_thread_is_accepted(chat_model: EndpointChatModel, model: ScriptedModel, name: str) -> None:
    model.profile = STRICTEST
    model.does(says("Hm."))

    await chat_model.ainvoke([HumanMessage("Hi"), *THREADS[name], HumanMessage("Go on.")])

    assert not model.violations


@pytest.mark.parametrize("stream", [True, False])
async def test_block_that_cannot_be_sent_is_the_callers(chat_model: EndpointChatModel, *, stream: bool) -> None:
    asked = [HumanMessage([{"type": "video", "url": "https://example.org/a.mp4"}])]

    with pytest.raises(InputKindNotSupported):
        _ = [piece async for piece in chat_model.astream(asked)] if stream else await chat_model.ainvoke(asked)


def test_names_are_valid_or_left_out() -> None:
    message = {"role": "user", "content": "Hi", "name": "Jörg Müller"}

    assert acceptable([message], with_names=True) == [message | {"name": "J_rg_M_ller"}]
    assert acceptable([message], with_names=False) == [{"role": "user", "content": "Hi"}]


def test_parts_that_endpoints_take_are_kept() -> None:
    user = {"role": "user", "content": [{"type": "text", "text": "Look:"}, IMAGE]}
    result = {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "42"}, IMAGE, {"a": 1}]}

    assert acceptable([user, result], with_names=False) == [
        user,
        result
        | {
            "content": [
                {"type": "text", "text": "42"},
                {"type": "text", "text": "(image_url: cannot be shown here)"},
                {"type": "text", "text": '{"a": 1}'},
            ]
        },
    ]
