"""Answers in every form that endpoints send them in, as chunks and whole."""

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from pydantic import BaseModel

from shared.errors import ModelUnavailable
from shared.models.endpoint import EndpointChatModel
from tests.shared.models.test_tool_call_forms import answered, streamed, whole
from tests.support.scripted_model import Behaviour, ScriptedModel, chunk, sends, streams

DONE = b"[DONE]"
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def raw(choices: object, **fields: object) -> bytes:
    return json.dumps({"id": "c", "model": "m", "choices": choices} | fields).encode()


def choice(**fields: object) -> dict[str, Any]:
    return {"index": 0, "finish_reason": None} | fields


END = chunk({}, "stop")
USED_END = chunk({}, "stop", usage=USAGE)
STREAMED: dict[str, list[bytes]] = {
    "as OpenAI": [
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "It is"}),
        chunk({"content": " 42."}),
        END,
    ],
    "no role": [chunk({"content": "It is 42."}), END],
    "another role": [chunk({"role": "user", "content": "It is"}), chunk({"role": "", "content": " 42."}), END],
    "role null": [chunk({"role": None, "content": "It is 42.", "tool_calls": None, "function_call": None}), END],
    "delta null": [
        raw([choice(delta=None)]),
        chunk({"content": "It is 42."}),
        raw([choice(delta=None, finish_reason="stop")]),
    ],
    "no delta": [chunk({"content": "It is 42."}), raw([choice(finish_reason="stop")])],
    "no choices at first": [raw([], prompt_filter_results=[]), chunk({"content": "It is 42."}), END],
    "choices null": [raw(None), chunk({"content": "It is 42."}), raw(None), END],
    "usage in the middle": [
        raw([], usage=USAGE),
        chunk({"content": "It is"}),
        raw([], usage=USAGE),
        chunk({"content": " 42."}),
        END,
    ],
    "content null": [chunk({"content": None}), chunk({"content": "It is 42."}), chunk({"content": None}, "stop")],
    "content in the last chunk": [chunk({"content": "It is"}), chunk({"content": " 42."}, "stop")],
    "a finish reason that is text": [chunk({"content": "It is 42."}, "null"), END, chunk({}, "null")],
    "an empty finish reason": [chunk({"content": "It is 42."}, ""), END],
    "message instead of delta": [
        raw([choice(message={"role": "assistant", "content": "It is 42."}, finish_reason="stop")])
    ],
    "message so far instead of delta": [
        raw([choice(message={"content": text})]) for text in ("It", "It is", "It is 42.")
    ]
    + [END],
    "message repeated at the end": [
        chunk({"content": "It is"}),
        chunk({"content": " 42."}),
        raw([choice(message={"content": "It is 42."}, finish_reason="stop")]),
    ],
    "message with an empty delta": [raw([choice(delta={}, message={"content": "It is 42."}, finish_reason="stop")])],
    "parts": [
        chunk({"content": [{"type": "text", "text": "It is"}]}),
        chunk({"content": [{"type": "text", "text": " 42."}]}),
        END,
    ],
    "a part": [chunk({"content": {"type": "text", "text": "It is 42."}}), END],
    "texts": [chunk({"content": ["It is", " 42."]}), END],
    "a refusal": [chunk({"content": None, "refusal": "It is"}), chunk({"refusal": " 42."}), END],
    "comments of a service": [chunk({"content": "It is 42.", "citations": [], "audio": None}, provider="x"), END],
}


@pytest.mark.parametrize("form", STREAMED)
async def test_streamed_answer_is_read(chat_model: EndpointChatModel, model: ScriptedModel, form: str) -> None:
    model.does(streams(*STREAMED[form], DONE))

    message = await answered(chat_model, stream=True)

    assert isinstance(message, AIMessageChunk)
    assert (message.content, message.tool_calls) == ("It is 42.", [])
    assert message.response_metadata["finish_reason"] == "stop"
    assert "reasoning_content" not in message.additional_kwargs
    others = {"refusal"}  # newer releases of langchain-core add a block for it
    assert [block["type"] for block in message.content_blocks if block["type"] not in others] == ["text"]


@pytest.mark.parametrize(
    "content",
    [
        "It is 42.",
        [{"type": "text", "text": "It is"}, {"type": "text", "text": " 42."}],
        {"type": "text", "text": "It is 42."},
        ["It is", " 42."],
    ],
)
async def test_whole_answer_is_read(chat_model: EndpointChatModel, model: ScriptedModel, content: object) -> None:
    model.does(whole({"content": content, "tool_calls": None, "function_call": None}, None, usage=USAGE))

    message = await answered(chat_model, stream=False)

    assert (message.content, message.tool_calls) == ("It is 42.", [])
    assert message.response_metadata["finish_reason"] == "stop"
    assert message.usage_metadata is not None
    assert message.usage_metadata["output_tokens"] == 3


USAGES: dict[str, list[bytes]] = {
    "at the end": [chunk({"content": "Hi"}), END, raw([], usage=USAGE)],
    "in the last chunk": [chunk({"content": "Hi"}), chunk({}, "stop", usage=USAGE)],
    "before the end": [raw([], usage=USAGE), chunk({"content": "Hi"}), END],
    "in each chunk": [
        chunk({"content": "H"}, usage=USAGE | {"completion_tokens": 1}),
        chunk({"content": "i"}, usage=USAGE),
        END,
    ],
    "in the choice": [chunk({"content": "Hi"}), raw([choice(delta={}, finish_reason="stop", usage=USAGE)])],
    "in floats": [
        chunk({"content": "Hi"}),
        chunk({}, "stop", usage={name: float(value) for name, value in USAGE.items()}),
    ],
    "with other names": [chunk({"content": "Hi"}), chunk({}, "stop", usage={"input_tokens": 7, "output_tokens": 3})],
    "in a field of Groq's": [chunk({"content": "Hi"}), chunk({}, "stop", x_groq={"id": "r", "usage": USAGE})],
    "null in each chunk": [chunk({"content": "Hi"}, usage=None), END, raw([], usage=USAGE)],
    "with details that are null": [
        chunk({"content": "Hi"}),
        END,
        raw([], usage=USAGE | {"prompt_tokens_details": None, "completion_tokens_details": {"reasoning_tokens": None}}),
    ],
}


@pytest.mark.parametrize("place", USAGES)
async def test_usage_is_counted_once(chat_model: EndpointChatModel, model: ScriptedModel, place: str) -> None:
    model.does(streams(*USAGES[place], DONE))

    message = await answered(chat_model, stream=True)

    assert message.usage_metadata is not None
    assert (message.usage_metadata["input_tokens"], message.usage_metadata["output_tokens"]) == (7, 3)


REASONING: dict[str, tuple[list[dict[str, Any]], str]] = {
    "reasoning_content": ([{"reasoning_content": "Let me"}, {"reasoning_content": " see."}], "reasoning_content"),
    "reasoning": ([{"reasoning": "Let me", "content": ""}, {"reasoning": " see.", "content": None}], "reasoning"),
    "two fields": ([{"reasoning": "Let me see.", "reasoning_content": "Let me see."}], "reasoning_content"),
    "details": (
        [
            {"reasoning_details": [{"type": "reasoning.text", "text": "Let me", "index": 0}]},
            {"reasoning_details": [{"type": "reasoning.text", "text": " see.", "signature": "s", "index": 0}]},
        ],
        "",
    ),
    "details beside the text": (
        [
            {
                "reasoning": "Let me see.",
                "reasoning_details": [{"type": "reasoning.summary", "summary": "Let me see.", "index": 0}],
            }
        ],
        "reasoning",
    ),
    "parts": ([{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Let me see."}]}]}], ""),
    "a summary in parts": (
        [{"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Let me see."}]}]}],
        "",
    ),
    "blocks": ([{"thinking_blocks": [{"type": "thinking", "thinking": "Let me see.", "signature": "s"}]}], ""),
    "tags": ([{"content": "<think>\nLet me"}, {"content": " see.\n</th"}, {"content": "ink>\n\n"}], "text"),
    "no opening tag": ([{"content": "Let me see.\n</think>"}], "text"),
    "thoughts of Gemini": (
        [
            {"content": "<thought>Let me", "extra_content": {"google": {"thought": True}}},
            {"content": " see.</thought>"},
        ],
        "text",
    ),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("form", REASONING)
async def test_reasoning_is_kept_apart(
    chat_model: EndpointChatModel, model: ScriptedModel, form: str, *, stream: bool
) -> None:
    deltas, source = REASONING[form]
    model.does(
        streamed(*deltas, {"content": "It is 42."}, finish_reason="stop") if stream else whole(_joined(deltas), "stop")
    )

    message = await answered(chat_model, stream=stream)

    assert message.content == "It is 42."
    assert message.content_blocks == [
        {"type": "reasoning", "reasoning": "Let me see."},
        {"type": "text", "text": "It is 42."},
    ]
    assert message.additional_kwargs.get("provider_fields", {}).get("source", "") == source


def _joined(deltas: list[dict[str, Any]]) -> dict[str, Any]:
    joined: dict[str, Any] = {}
    for delta in deltas:
        for key, value in delta.items():
            joined[key] = joined[key] + value if joined.get(key) else value
    content = joined.get("content") or ""
    return joined | {
        "content": [*content, {"type": "text", "text": "It is 42."}]
        if isinstance(content, list)
        else content + "It is 42."
    }


@pytest.mark.parametrize("stream", [True, False])
async def test_reasoning_without_an_answer_is_an_empty_answer(
    chat_model: EndpointChatModel, model: ScriptedModel, *, stream: bool
) -> None:
    message = {"content": "<think>Let me see."}
    model.does(streamed(message, finish_reason="length") if stream else whole(message, "length"))

    answer = await answered(chat_model, stream=stream)

    assert (answer.content, answer.text) == ("", "")
    assert answer.additional_kwargs["reasoning_content"] == "Let me see."


async def test_reasoning_is_streamed_as_content_blocks(chat_model: EndpointChatModel, model: ScriptedModel) -> None:
    model.does(
        streamed(
            {"content": "<think>Let"},
            {"content": " me"},
            {"content": "</think>It"},
            {"content": " is"},
            finish_reason="stop",
        )
    )

    pieces = [piece async for piece in chat_model.astream("Hi")]

    assert [block for piece in pieces for block in piece.content_blocks] == [
        {"type": "reasoning", "reasoning": "Let"},
        {"type": "reasoning", "reasoning": " me"},
        {"type": "text", "text": "It"},
        {"type": "text", "text": " is"},
    ]


@pytest.mark.parametrize("asked_to_stream", [True, False])
async def test_endpoint_that_ignores_stream_is_read(
    chat_model: EndpointChatModel, model: ScriptedModel, *, asked_to_stream: bool
) -> None:
    # BerriAI/litellm#25766: a stream although none was asked for; or none although one was
    chunks = [chunk({"reasoning_content": "Let me see."}), chunk({"content": "It is"}), chunk({"content": " 42."})]
    message = {"content": "It is 42.", "reasoning_content": "Let me see."}
    model.does(whole(message, "stop", usage=USAGE) if asked_to_stream else streams(*chunks, USED_END, DONE))

    answer = await answered(chat_model, stream=asked_to_stream)

    assert (answer.content, answer.additional_kwargs["reasoning_content"]) == ("It is 42.", "Let me see.")
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 3


async def test_stream_that_breaks_off_is_no_whole_answer(chat_model: EndpointChatModel, model: ScriptedModel) -> None:
    model.does(streams(chunk({"content": "It is"}), DONE))

    with pytest.raises(ModelUnavailable, match="broke off"):
        await answered(chat_model, stream=False)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    "reason", ["error", "network_error", "insufficient_system_resource", "abort", "MALFORMED_FUNCTION_CALL"]
)
async def test_failure_as_a_finish_reason_is_an_error(
    chat_model: EndpointChatModel, model: ScriptedModel, reason: str, *, stream: bool
) -> None:
    model.does(streamed({"content": "It"}, finish_reason=reason) if stream else whole({"content": "It"}, reason))

    with pytest.raises(ModelUnavailable, match="broke off"):
        await answered(chat_model, stream=stream)


class Grade(BaseModel):
    relevant: bool


@pytest.mark.parametrize("stream", [True, False])
async def test_structured_output_after_reasoning(
    chat_model: EndpointChatModel, model: ScriptedModel, *, stream: bool
) -> None:
    message = {"content": '<think>Hm.</think>\n{"relevant": true}'}
    model.does(streamed(message, finish_reason="stop") if stream else whole(message, "stop"))
    grader = chat_model.with_structured_output(Grade, method="json_schema")

    grade = [piece async for piece in grader.astream("Hi")][-1] if stream else await grader.ainvoke("Hi")

    assert grade == Grade(relevant=True)
    sent = model.requests[0].body["response_format"]
    assert (sent["type"], sent["json_schema"]["strict"]) == ("json_schema", True)
    assert sent["json_schema"]["schema"]["properties"].keys() == {"relevant"}


@pytest.mark.parametrize(
    "behaviour",
    [
        whole({"content": "yes"}, "stop"),
        sends(b'{"choices": [7]}'),
        sends(b'{"choices": [{"message": 7}]}'),
        sends(b'{"choices": {"message": {"content": "Hi"}}}'),
    ],
)
async def test_response_without_an_answer_is_an_error(
    chat_model: EndpointChatModel, model: ScriptedModel, behaviour: Behaviour
) -> None:
    model.does(behaviour)

    with pytest.raises(ModelUnavailable):
        await chat_model.with_structured_output(Grade, method="json_schema").ainvoke("Hi")
