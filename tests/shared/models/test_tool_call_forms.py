"""Tool calls in every form that endpoints send them in, as chunks and whole, become the same calls."""

import json
import re
from collections.abc import Sequence
from time import process_time
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from shared.errors import ModelUnavailable
from shared.models.endpoint import EndpointChatModel
from shared.models.tool_calls import ToolCallAssembler
from tests.support.scripted_model import Behaviour, ScriptedModel, chunk, sends, streams

SIX = {"expression": "6 * 7"}
TEN = {"expression": "2 ** 10"}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("calculator", "current_time", "search", "search_documents")
]
Calls = list[tuple[str, dict[str, Any]]]


def call(name: str | None = None, arguments: object = None, **fields: Any) -> dict[str, Any]:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    return {"type": "function", "function": function} | fields


def text(arguments: dict[str, Any]) -> str:
    return json.dumps(arguments)


def whole(message: dict[str, Any], finish_reason: str | None = "tool_calls", **fields: Any) -> Behaviour:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return sends(json.dumps({"id": "c", "model": "m", "choices": [choice]} | fields).encode())


def streamed(*deltas: dict[str, Any] | None, finish_reason: str | None = "tool_calls") -> Behaviour:
    chunks = [chunk(delta) for delta in deltas]  # type: ignore[arg-type]  # some are no object
    return streams(*chunks, *([chunk({}, finish_reason)] if finish_reason else []), b"[DONE]")


async def answered(
    chat_model: EndpointChatModel, *, stream: bool, messages: Sequence[BaseMessage] | None = None
) -> AIMessage:
    bound = chat_model.bind(tools=TOOLS)
    asked: Sequence[BaseMessage] = messages or [HumanMessage("Hi")]
    if not stream:
        return await bound.ainvoke(asked)
    pieces = [piece async for piece in bound.astream(asked)]
    result = pieces[0]
    for piece in pieces[1:]:
        result += piece  # type: ignore[assignment]  # chunks add up to a chunk
    return result


def calls_of(message: AIMessage) -> Calls:
    return [(one["name"], one["args"]) for one in message.tool_calls]


NOTHING: list[object] = ["[]", [], " ", "None", '""', "{ }", "\n"]
# What the endpoint sends in `tool_calls` of each chunk, and the calls that it means.
STREAMED: dict[str, tuple[list[Any], Calls]] = {
    "as OpenAI": (
        [
            [call("calculator", "", index=0, id="a")],
            [call(None, '{"expression": ', index=0)],
            [call(None, '"6 * 7"}', index=0)],
        ],
        [("calculator", SIX)],
    ),
    "no index": ([[call("calculator", text(SIX), id="a")]], [("calculator", SIX)]),
    "null index": ([[call("calculator", text(SIX), id="a", index=None)]], [("calculator", SIX)]),
    "no index, in pieces": (
        [[call("calculator", '{"expression"', id="a")], [call(None, ': "6 * 7"}')]],
        [("calculator", SIX)],
    ),
    "no index, in pieces with the id": (
        [[call("calculator", '{"expression"', id="a")], [call(None, ': "6 * 7"}', id="a")]],
        [("calculator", SIX)],
    ),
    "no index, two in one chunk": (
        [[call("calculator", text(SIX), id="a"), call("calculator", text(TEN), id="b")]],
        [("calculator", SIX), ("calculator", TEN)],
    ),
    "no index, no ids, two in one chunk": (
        [[call("calculator", text(SIX)), call("calculator", text(TEN))]],
        [("calculator", SIX), ("calculator", TEN)],
    ),
    "no index, no ids, the same call twice in one chunk": (
        [[call("calculator", text(SIX)), call("calculator", text(SIX))]],
        [("calculator", SIX), ("calculator", SIX)],
    ),
    "no index, no ids, two chunks": (
        [[call("calculator", text(SIX))], [call("calculator", text(TEN))], [call("current_time", "{}")]],
        [("calculator", SIX), ("calculator", TEN), ("current_time", {})],
    ),
    "no index, no ids, pieces of two side by side": (
        [
            [call("calculator", ""), call("calculator", "")],
            [call(None, text(SIX)), call(None, text(TEN))],
        ],
        [("calculator", SIX), ("calculator", TEN)],
    ),
    "index always 0, own ids": (
        [[call("calculator", text(SIX), index=0, id="a")], [call("calculator", text(TEN), index=0, id="b")]],
        [("calculator", SIX), ("calculator", TEN)],
    ),
    "index always 0, own ids, in pieces": (
        [
            [call("calculator", "", index=0, id="a")],
            [call(None, text(SIX), index=0)],
            [call("calculator", "", index=0, id="b")],
            [call(None, text(TEN), index=0)],
        ],
        [("calculator", SIX), ("calculator", TEN)],
    ),
    "index always 0, no ids": (
        [[call("calculator", text(SIX), index=0)], [call("current_time", "{}", index=0)]],
        [("calculator", SIX), ("current_time", {})],
    ),
    "index always 0, one id": (
        [[call("calculator", text(SIX), index=0, id="a"), call("calculator", text(TEN), index=0, id="a")]],
        [("calculator", SIX), ("calculator", TEN)],
    ),
    "index always 0, one id, two chunks": (
        [[call("calculator", text(SIX), index=0, id="a")], [call("calculator", text(TEN), index=0, id="a")]],
        [("calculator", SIX), ("calculator", TEN)],
    ),
    "indexes are text": (
        [
            [call("calculator", "", index="0", id="a"), call("current_time", "", index="1", id="b")],
            [call(None, text(SIX), index="0")],
        ],
        [("calculator", SIX), ("current_time", {})],
    ),
    "indexes from 1": ([[call("calculator", text(SIX), index=1, id="a")]], [("calculator", SIX)]),
    "the index counts chunks": (
        [[call("calculator", '{"expression": ', index=0, id="a")], [call(None, '"6 * 7"}', index=1, id="a")]],
        [("calculator", SIX)],
    ),
    "repeated whole": (
        [[call("calculator", text(SIX), index=0, id="a")]] * 3,
        [("calculator", SIX)],
    ),
    "repeated whole without index": ([[call("calculator", text(SIX), id="a")]] * 2, [("calculator", SIX)]),
    "repeated whole without index and id": ([[call("calculator", text(SIX))]] * 2, [("calculator", SIX)]),
    "repeated whole after its pieces": (
        [
            [call("calculator", "", index=0, id="a")],
            [call(None, text(SIX), index=0)],
            [call("calculator", text(SIX), index=0, id="a")],
        ],
        [("calculator", SIX)],
    ),
    "each chunk has the call so far": (
        [[call("calculator", part, index=0, id="a")] for part in ("", '{"exp', '{"expression": "6', text(SIX))],
        [("calculator", SIX)],
    ),
    "the name in each chunk": (
        [[call("calculator", part, index=0, id="a")] for part in ("", '{"expression"', ': "6 * 7"', "}")],
        [("calculator", SIX)],
    ),
    "the name in each chunk, no id": (
        [[call("calculator", part, index=0)] for part in ("", '{"expression"', ': "6 * 7"', "}")],
        [("calculator", SIX)],
    ),
    "the name in each chunk, no id and index": (
        [[call("calculator", part)] for part in ('{"expression"', ': "6 * 7"', "}")],
        [("calculator", SIX)],
    ),
    "a name in pieces": (
        [[call("calc", "", index=0, id="a")], [call("ulator", "", index=0)], [call(None, text(SIX), index=0)]],
        [("calculator", SIX)],
    ),
    "a name in pieces, the first of which is a tool": (
        [[call("search", "", index=0, id="a")], [call("_documents", "{}", index=0)]],
        [("search_documents", {})],
    ),
    "an id in each chunk": (
        [[call("calculator", '{"expression": ', index=0, id="a")], [call("", '"6 * 7"}', index=0, id="a")]],
        [("calculator", SIX)],
    ),
    "the id comes late": (
        [[call("calculator", "", index=0)], [call(None, text(SIX), index=0, id="a")]],
        [("calculator", SIX)],
    ),
    "empty ids": (
        [[call("calculator", text(SIX), index=0, id=""), call("calculator", text(TEN), index=1, id="")]],
        [("calculator", SIX), ("calculator", TEN)],
    ),
    "numbers as ids": ([[call("calculator", text(SIX), index=0, id=7)]], [("calculator", SIX)]),
    "function null at first": (
        [[{"index": 0, "id": "a", "type": "function", "function": None}], [call("calculator", text(SIX), index=0)]],
        [("calculator", SIX)],
    ),
    "function null": ([[{"index": 0, "id": "a", "type": "function", "function": None}]], []),
    "no name": ([[call(None, text(SIX), index=0, id="a")]], [("unknown", SIX)]),
    "without `function` around it": (
        [[{"index": 0, "id": "a", "name": "calculator", "arguments": text(SIX)}]],
        [("calculator", SIX)],
    ),
    "an object instead of a list": ([call("calculator", text(SIX), index=0, id="a")], [("calculator", SIX)]),
    "arguments as an object": ([[call("calculator", SIX, index=0, id="a")]], [("calculator", SIX)]),
    "arguments null": (
        [[{"index": 0, "id": "a", "function": {"name": "current_time", "arguments": None}}]],
        [("current_time", {})],
    ),
    "arguments `null`": ([[call("current_time", "null", index=0, id="a")]], [("current_time", {})]),
    "no arguments": ([[call("current_time", None, index=0, id="a")]], [("current_time", {})]),
    "empty arguments": ([[call("current_time", "", index=0, id="a")]], [("current_time", {})]),
    "a brace too many": (
        [[call("calculator", text(SIX), index=0, id="a")], [call(None, "}", index=0)]],
        [("calculator", SIX)],
    ),
    "not objects": ([[None, 7, "x"], call("calculator", text(SIX), index=0, id="a")], [("calculator", SIX)]),
    "null": ([None, [call("calculator", text(SIX), index=0, id="a")], None], [("calculator", SIX)]),
    "two side by side": (
        [
            [call("calculator", "", index=0, id="a"), call("calculator", "", index=1, id="b")],
            [call(None, '{"expression": ', index=0), call(None, '{"expression": ', index=1)],
            [call(None, '"6 * 7"}', index=0), call(None, '"2 ** 10"}', index=1)],
        ],
        [("calculator", SIX), ("calculator", TEN)],
    ),
    # poolsideai/pool#9
    "another id in each chunk": (
        [[call("calculator", '{"expression": ', index=0, id="a")], [call(None, '"6 * 7"}', index=0, id="b")]],
        [("calculator", SIX)],
    ),
    "another id in each chunk, with the name": (
        [[call("calculator", part, index=0, id=part)] for part in ('{"expression": ', '"6 * ', '7"}')],
        [("calculator", SIX)],
    ),
    # InternLM/lmdeploy#3412
    "index always 0, ids then empty": (
        [
            [call("calculator", "", index=0, id="a")],
            [call(None, text(SIX), index=0, id="")],
            [call("calculator", "", index=0, id="b")],
            [call(None, text(TEN), index=0, id="")],
        ],
        [("calculator", SIX), ("calculator", TEN)],
    ),
    # agno-agi/agno#8880
    "a second call with the first one's index at first": (
        [
            [call("calculator", text(SIX), index=0, id="a")],
            [call("calculator", "", index=0, id="b")],
            [call(None, '{"expression": ', index=1)],
            [call(None, '"2 ** 10"}', index=1)],
        ],
        [("calculator", SIX), ("calculator", TEN)],
    ),
    # mudler/LocalAI#9722
    "repeated at the next index": (
        [[call("calculator", text(SIX), index=number, id="a")] for number in range(3)],
        [("calculator", SIX)],
    ),
    "started again at the next index": (
        [[call("calculator", "", index=0, id="a")], [call("calculator", text(SIX), index=1, id="a")]],
        [("calculator", SIX)],
    ),
    # vllm-project/vllm#51697
    "arguments twice": ([[call("calculator", text(SIX) * 2, index=0, id="a")]], [("calculator", SIX)]),
    "arguments twice, in pieces": (
        [
            [call("calculator", '{"expression": ', index=0, id="a")],
            [call(None, '"6 * 7"}' + text(SIX)[:9], index=0)],
            [call(None, text(SIX)[9:], index=0)],
        ],
        [("calculator", SIX)],
    ),
    "a brace, then the arguments": (
        [[call("calculator", "{", index=0, id="a")], [call(None, text(SIX), index=0)]],
        [("calculator", SIX)],
    ),
    "a token after the arguments": (
        [[call("calculator", text(SIX) + "<|im_end|>", index=0, id="a")]],
        [("calculator", SIX)],
    ),
    # Proxies of Anthropic's models
    "`{}`, then the arguments": (
        [
            [call("calculator", "{}", index=0, id="a")],
            [call(None, '{"expression": ', index=0)],
            [call(None, '"6 * 7"}', index=0)],
        ],
        [("calculator", SIX)],
    ),
    "an empty object, then the arguments": (
        [[call("calculator", {}, index=0, id="a")], [call(None, text(SIX), index=0)]],
        [("calculator", SIX)],
    ),
    "arguments as JSON in a string": (
        [[call("calculator", json.dumps(text(SIX)), index=0, id="a")]],
        [("calculator", SIX)],
    ),
    "arguments as JSON in a string, in pieces": (
        [
            [call("calculator", json.dumps(text(SIX))[:9], index=0, id="a")],
            [call(None, json.dumps(text(SIX))[9:], index=0)],
        ],
        [("calculator", SIX)],
    ),
    "arguments in a fenced block": (
        [[call("calculator", f"```json\n{text(SIX)}\n```", index=0, id="a")]],
        [("calculator", SIX)],
    ),
    "a line break in a string": (
        [[call("calculator", '{"expression": "6 *\n7"}', index=0, id="a")]],
        [("calculator", {"expression": "6 *\n7"})],
    ),
    "arguments `null` in pieces": (
        [[call("calculator", '{"expression": ', index=0, id="a")], [call(None, "null", index=0)], [call(None, "}")]],
        [("calculator", {"expression": None})],
    ),
    **{
        f"{sent!r} as arguments": ([[call("current_time", sent, index=0, id="a")]], [("current_time", {})])
        for sent in NOTHING
    },
    "`parameters` instead of arguments": (
        [[{"id": "a", "function": {"name": "calculator", "parameters": SIX}}]],
        [("calculator", SIX)],
    ),
    **{
        f"{name!r} as a name": ([[call(name, text(SIX), index=0, id="a")]], [("calculator", SIX)])
        for name in (
            *("functions.calculator", "functions.calculator:0", "default_api.calculator", " calculator\n"),
            *("calculator<|channel|>commentary", "calculator <|constrain|>json", "calculatorjson"),
        )
    },
    "a name that is no tool's": (
        [[call("mail.calculator", text(SIX), index=0, id="a")]],
        [("mail.calculator", SIX)],
    ),
}


@pytest.mark.parametrize("form", STREAMED)
async def test_streamed_calls_are_read(chat_model: EndpointChatModel, model: ScriptedModel, form: str) -> None:
    sent, meant = STREAMED[form]
    model.does(streamed({"role": "assistant", "content": None}, *({"tool_calls": calls} for calls in sent)))

    message = await answered(chat_model, stream=True)

    assert calls_of(message) == meant
    assert message.invalid_tool_calls == []
    assert message.content == ""
    assert message.response_metadata["finish_reason"] == ("tool_calls" if meant else "stop")
    assert_ids(message)


@pytest.mark.parametrize("form", [form for form, (sent, _) in STREAMED.items() if len(sent) == 1])
async def test_whole_calls_are_read(chat_model: EndpointChatModel, model: ScriptedModel, form: str) -> None:
    (sent,), meant = STREAMED[form]
    model.does(whole({"role": "assistant", "content": None, "tool_calls": sent}))

    message = await answered(chat_model, stream=False)

    assert calls_of(message) == meant
    assert message.invalid_tool_calls == []
    assert message.response_metadata["finish_reason"] == ("tool_calls" if meant else "stop")
    assert_ids(message)


def assert_ids(message: AIMessage) -> None:
    ids = [one["id"] for one in message.tool_calls]
    assert all(re.fullmatch("[A-Za-z0-9]{9}", str(id_)) for id_ in ids)
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "arguments", ["[6, 7]", '"6 * 7"', "7", "no json", '{"expression": "6 *', '{"a": [{"b": 1}', '{"a": "\\']
)
async def test_call_without_an_object_as_arguments_is_invalid(
    chat_model: EndpointChatModel, model: ScriptedModel, arguments: str, *, stream: bool
) -> None:
    calls = [call("calculator", arguments, index=0, id="a")]
    model.does(streamed({"tool_calls": calls}) if stream else whole({"tool_calls": calls}))

    message = await answered(chat_model, stream=stream)

    assert message.tool_calls == []
    (invalid,) = message.invalid_tool_calls
    assert invalid["name"] == "calculator"
    assert re.fullmatch("[A-Za-z0-9]{9}", str(invalid["id"]))


@pytest.mark.parametrize("stream", [True, False])
async def test_older_function_call_is_a_tool_call(
    chat_model: EndpointChatModel, model: ScriptedModel, *, stream: bool
) -> None:
    pieces = [{"name": "calculator", "arguments": ""}, {"arguments": '{"expression": '}, {"arguments": '"6 * 7"}'}]
    model.does(
        streamed(*({"function_call": piece} for piece in pieces), finish_reason="function_call")
        if stream
        else whole({"content": None, "function_call": {"name": "calculator", "arguments": text(SIX)}}, "function_call")
    )

    message = await answered(chat_model, stream=stream)

    assert calls_of(message) == [("calculator", SIX)]
    assert message.response_metadata["finish_reason"] == "tool_calls"
    assert "function_call" not in message.additional_kwargs


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("reason", ["stop", "tool_call", "function_call", "STOP", "eos", None])
async def test_calls_have_a_finish_reason(
    chat_model: EndpointChatModel, model: ScriptedModel, reason: str | None, *, stream: bool
) -> None:
    calls = [call("calculator", text(SIX), index=0, id="a")]
    model.does(
        streamed({"tool_calls": calls}, finish_reason=reason) if stream else whole({"tool_calls": calls}, reason)
    )

    message = await answered(chat_model, stream=stream)

    assert calls_of(message) == [("calculator", SIX)]
    assert message.response_metadata["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        *(("length", "length"), ("max_tokens", "length"), ("model_context_window_exceeded", "length")),
        *(("content_filter", "content_filter"), ("RECITATION", "content_filter"), ("refusal", "content_filter")),
        ("tool_calls", "stop"),
    ],
)
async def test_text_has_a_finish_reason(
    chat_model: EndpointChatModel, model: ScriptedModel, sent: str, meant: str, *, stream: bool
) -> None:
    message = {"role": "assistant", "content": "It is", "tool_calls": None}
    model.does(streamed(message, finish_reason=sent) if stream else whole(message, sent))

    answer = await answered(chat_model, stream=stream)

    assert (answer.content, answer.response_metadata["finish_reason"]) == ("It is", meant)


async def test_calls_after_the_finish_reason_are_read(chat_model: EndpointChatModel, model: ScriptedModel) -> None:
    model.does(streams(chunk({"content": ""}, "stop"), chunk({"tool_calls": [call("calculator", SIX)]}), b"[DONE]"))

    assert calls_of(await answered(chat_model, stream=True)) == [("calculator", SIX)]


async def test_stream_that_ends_in_a_call_is_an_error(chat_model: EndpointChatModel, model: ScriptedModel) -> None:
    model.does(streamed({"tool_calls": [call("calculator", '{"expression": ', index=0)]}, finish_reason=None))

    with pytest.raises(ModelUnavailable, match="broke off"):
        await answered(chat_model, stream=True)


@pytest.mark.parametrize("stream", [True, False])
async def test_ids_of_the_thread_are_not_reused(
    chat_model: EndpointChatModel, model: ScriptedModel, *, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters = iter("AAAAAAAAA" + "BBBBBBBBB" + "CCCCCCCCC")
    monkeypatch.setattr("shared.models.tool_calls.secrets.choice", lambda _: next(letters))
    earlier = AIMessage("", tool_calls=[{"type": "tool_call", "name": "calculator", "args": SIX, "id": "AAAAAAAAA"}])
    thread = [
        HumanMessage("Hi"),
        earlier,
        ToolMessage("42", tool_call_id="AAAAAAAAA"),
        ToolMessage("", tool_call_id="BBBBBBBBB"),
    ]
    calls = [call("calculator", text(SIX), index=0, id="AAAAAAAAA")]
    model.does(streamed({"tool_calls": calls}) if stream else whole({"tool_calls": calls}))

    message = await answered(chat_model, stream=stream, messages=thread)

    assert [one["id"] for one in message.tool_calls] == ["CCCCCCCCC"]


def test_many_calls_of_one_message_do_not_block_the_event_loop() -> None:
    calls = ToolCallAssembler([], ["search"])
    started = process_time()

    deltas = calls.add([call("search", "{}", index=number, id=f"c{number}") for number in range(600)])

    assert len(deltas) == len(calls.calls) == 600
    assert process_time() - started < 2  # 0.03 in practice; 7 if the calls are compared field by field
