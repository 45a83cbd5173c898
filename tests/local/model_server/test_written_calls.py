"""Tool calls that a model writes as text: found in any pieces, and nothing else is taken for one."""

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.model_server.written_calls import CallScanner, callable_tools, convert_completion, convert_events

NAMES = frozenset({"get_weather", "calculator"})
PARIS = '{"name": "get_weather", "arguments": {"city": "Paris"}}'
FENCED = f"```json\n{PARIS}\n```"
CALL = ("get_weather", {"city": "Paris"})

# Written by Qwen2.5-Coder-0.5B-Instruct.
RECORDED = '```json\n{\n  "name": "get_weather",\n  "arguments": {\n    "city": "北京"\n  }\n}\n```'


def scan(pieces: Iterable[str]) -> tuple[str, list[tuple[str, dict[str, Any]]]]:
    """Return the text and the calls of an answer that arrives in pieces."""
    scanner = CallScanner(NAMES)
    found = [piece for text in pieces for piece in scanner.feed(text)] + list(scanner.close())
    text = "".join(piece for piece in found if isinstance(piece, str))
    functions = [call["function"] for piece in found if isinstance(piece, list) for call in piece]
    return text, [(function["name"], json.loads(function["arguments"])) for function in functions]


@pytest.mark.parametrize(
    ("written", "text", "calls"),
    [
        (RECORDED, "", [("get_weather", {"city": "北京"})]),
        (PARIS, "", [CALL]),
        (f"  \n{PARIS}\n", "", [CALL]),
        (FENCED, "", [CALL]),
        (f"```\n{PARIS}\n```", "", [CALL]),
        (f"```tool_call\n{PARIS}```", "", [CALL]),
        (f"``` {PARIS} ```", "", [CALL]),
        (f"```json\n{PARIS}", "", [CALL]),  # cut at the end
        (f"Let me look.\n{FENCED}\nDone.", "Let me look.\n\nDone.", [CALL]),
        (f"{FENCED}\n{FENCED}", "\n", [CALL, CALL]),
        (f"```json\n{PARIS}\n{PARIS}\n```", "", [CALL, CALL]),
        (f"{PARIS}\n{PARIS}", "", [CALL, CALL]),
        (f"```json\n[{PARIS}, {PARIS}]\n```", "", [CALL, CALL]),
        ('{"name": "calculator", "parameters": {"a": 1}}', "", [("calculator", {"a": 1})]),
        ('{"name": "calculator", "arguments": "{\\"a\\": 1}"}', "", [("calculator", {"a": 1})]),
        ('{"name": "calculator"}', "", [("calculator", {})]),
        ('{"name": "calculator", "arguments": {"a": "\\ud800"}}', "", [("calculator", {"a": "?"})]),
        ('{"type": "function", "function": {"name": "calculator", "arguments": {}}}', "", [("calculator", {})]),
        ('{"name": "calculator", "arguments": {"a": "x\n```\ny"}}', "", [("calculator", {"a": "x\n```\ny"})]),
        (f"```json\n{PARIS}\n```" + "\n" * 40, "\n" * 40, [CALL]),
    ],
)
class TestCalls:
    def test_call_is_found(self, written: str, text: str, calls: list[Any]) -> None:
        found, made = scan([written])
        assert (found.strip(), made) == (text.strip(), calls)

    def test_call_in_single_characters_is_found(self, written: str, text: str, calls: list[Any]) -> None:
        found, made = scan(written)
        assert (found.strip(), made) == (text.strip(), calls)


NOT_CALLS = [
    "",
    "   ",
    "Hello",
    "a `b` c ``d``",
    '{"name": "delete_everything", "arguments": {}}',
    '```json\n{"name": "delete_everything", "arguments": {}}\n```',
    '{"city": "Paris"}',
    "{not JSON}",
    "[1] The library opens at nine.",
    "[1, 2, 3]",
    "[]",
    "{}",
    f"The call is {PARIS}",
    f"[{PARIS}, 7]",
    f"```json\n{PARIS[:-2]}\n```",
    '{"name": "calculator", "arguments": [1]}',
    '{"name": "calculator", "arguments": "1 +"}',
    '{"name": ["calculator"], "arguments": {}}',
    '{"name": null}',
    '{"name": "calculator", "arguments": {"a": NaN}}',
    '{"name": "calculator", "arguments": {"a": 1e999}}',
    f'{{"name": "calculator", "arguments": {{"a": {"7" * 5000}}}}}',
    f"```python\nprint({PARIS})\n```",
    "```\nplain\n```\nand more",
    "```python\nx = {}\n```\n{}",
    "{" * 20_000,
    "[" * 20_000,
    '```json\n{"a": "\\',
]


@pytest.mark.parametrize("text", NOT_CALLS)
def test_everything_else_stays_text(text: str) -> None:
    assert scan([text]) == (text, [])
    assert scan(text[index : index + 3] for index in range(0, min(len(text), 3000), 3)) == (text[:3000], [])


@given(st.lists(st.sampled_from(["```", "`", "json\n", "{", "}", "[", '"name"', ":", " ", "\n", PARIS, "text", "é"])))
def test_pieces_do_not_change_the_result(pieces: list[str]) -> None:
    whole, calls = scan(["".join(pieces)])

    assert scan(pieces) == (whole, calls)
    if not calls:
        assert whole == "".join(pieces)


@pytest.mark.parametrize("written", [f"{PARIS} ", f"```{PARIS}```{PARIS},", f"{PARIS}\n\n{PARIS}\nDone. "])
def test_single_characters_do_not_change_the_result(written: str) -> None:
    assert scan(written) == scan([written])


def test_text_is_not_held_back() -> None:
    scanner = CallScanner(NAMES)

    assert list(scanner.feed("Hello ")) == ["Hello "]
    assert list(scanner.feed("you ``")) == ["you "]
    assert list(scanner.feed("`py\nx")) == ["```py\n", "x"]


def test_only_callable_tools_count() -> None:
    tools = [{"type": "function", "function": {"name": "calculator"}}, {"type": "other"}, 7]

    assert callable_tools({"tools": tools}) == {"calculator"}
    assert callable_tools({"tools": tools, "tool_choice": "none"}) == frozenset()
    assert callable_tools({"tools": tools, "response_format": {"type": "json_object"}}) == frozenset()
    assert callable_tools({"tools": "x"}) == callable_tools({}) == frozenset()


def test_complete_answer_is_converted() -> None:
    message: dict[str, Any] = {"role": "assistant", "content": f"One moment.\n{FENCED}"}
    answer = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    convert_completion(answer, NAMES)

    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert message["content"] == "One moment."
    assert message["tool_calls"][0]["function"] == {"name": "get_weather", "arguments": '{"city": "Paris"}'}


def event(delta: dict[str, Any], reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return b"data: " + json.dumps({"id": "1", "choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"


async def convert(content: bytes, size: int) -> list[Any]:
    async def stream() -> AsyncIterator[bytes]:
        for start in range(0, len(content), size):
            yield content[start : start + size]

    converted = b"".join([sent async for sent in convert_events(stream(), NAMES)])
    lines = [line.removeprefix(b"data: ") for line in converted.split(b"\n\n") if line]
    return [line if line in (b"[DONE]", b": ping") else json.loads(line) for line in lines]


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_streamed_answer_is_converted(size: int) -> None:
    content = event({"role": "assistant", "content": None})
    content += b"".join(event({"content": RECORDED[index : index + 4]}) for index in range(0, len(RECORDED), 4))
    usage = {"id": "1", "choices": [], "usage": {"total_tokens": 3}}
    content += b": ping\n\n" + event({}, "stop") + b"data: " + json.dumps(usage).encode() + b"\n\ndata: [DONE]\n\n"

    ping, *chunks, last_usage, done = sorted(await convert(content, size), key=lambda chunk: chunk != b": ping")

    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": None}
    (call,) = choices[1]["delta"]["tool_calls"]
    assert (call["index"], call["type"]) == (0, "function")
    assert call["id"].startswith("call_")
    assert json.loads(call["function"]["arguments"]) == {"city": "北京"}
    assert choices[2] == {"index": 0, "delta": {}, "finish_reason": "tool_calls"}
    assert len(choices) == 3
    assert (ping, last_usage, done) == (b": ping", usage, b"[DONE]")


async def test_streamed_text_is_unchanged() -> None:
    words = ["Line\u2028one ", "and `code` ", "```py\nx\n``", "`"]
    content = b"".join(event({"content": word}) for word in words) + event({}, "length")

    *chunks, last = await convert(content, 3)

    assert "".join(chunk["choices"][0]["delta"]["content"] for chunk in chunks) == "".join(words)
    assert last["choices"][0]["finish_reason"] == "length"


async def test_streamed_error_is_passed_on() -> None:
    error = {"error": {"code": 500, "message": "m"}}
    content = event({"content": "```json"}) + b"data: " + json.dumps(error).encode() + b"\n\n"

    assert error in await convert(content, 5)


async def test_written_call_follows_a_native_one() -> None:
    native = {"index": 0, "id": "a", "type": "function", "function": {"name": "calculator", "arguments": "{}"}}
    content = event({"tool_calls": [native]}) + event({"content": FENCED}) + event({}, "tool_calls")

    chunks = await convert(content, 9)

    calls = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert [(call["index"], call["function"]["name"]) for call in calls] == [(0, "calculator"), (1, "get_weather")]
