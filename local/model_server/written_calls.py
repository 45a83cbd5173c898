"""Tool calls that a model writes as text, in OpenAI's format.

llama.cpp recognizes the calls that a model's chat template describes. Small models often write a JSON object instead,
alone or in a fenced block:

    ```json
    {"name": "get_weather", "arguments": {"city": "Paris"}}
    ```

Such an object is a call only if its name is that of an offered tool; everything else remains text.
"""

import json
import re
import uuid
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from local.model_server.replies import sse_event

_FENCE = "```"
_OPENING = re.compile(r"```[ \t]*[\w+-]*\s*")
_SPACE = re.compile(r"\s*")
_DECODER = json.JSONDecoder(strict=False)  # accepts line breaks in strings, which models often do not escape
_NEAR_END = 8  # characters: an error there may be an incomplete escape or literal

# Text, or the calls of a block.
Piece = str | list[dict[str, Any]]


def callable_tools(body: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the tools that the answer to a request may call; none if it must have a JSON format."""
    tools, form = body.get("tools"), body.get("response_format")
    has_format = isinstance(form, Mapping) and form.get("type", "text") != "text"
    if body.get("tool_choice") == "none" or has_format or not isinstance(tools, list):
        return frozenset()
    functions = [tool.get("function") for tool in tools if isinstance(tool, Mapping)]
    names = [function.get("name") for function in functions if isinstance(function, Mapping)]
    return frozenset(name for name in names if isinstance(name, str))


def convert_completion(completion: dict[str, Any], names: Collection[str]) -> None:
    """Convert the written calls of a complete answer, in place."""
    for choice in completion.get("choices") or []:
        message = choice["message"]
        scanner = CallScanner(names)
        pieces = [*scanner.feed(message.get("content") or ""), *scanner.close()]
        if calls := [call for piece in pieces if isinstance(piece, list) for call in piece]:
            text = "".join(piece for piece in pieces if isinstance(piece, str)).strip()
            message["content"] = text or None
            message["tool_calls"] = [*(message.get("tool_calls") or []), *calls]
            choice["finish_reason"] = "tool_calls"


async def convert_events(stream: AsyncIterator[bytes], names: Collection[str]) -> AsyncIterator[bytes]:
    """Convert the written calls of a streamed answer.

    Args:
        stream: Server-sent events of llama.cpp, in any pieces.
        names: The offered tools.
    """
    choices: dict[int, _StreamedChoice] = {}
    buffer = b""
    async for received in stream:
        *events, buffer = (buffer + received).split(b"\n\n")
        for event in events:
            chunk = _json_data(event)
            if not chunk or not chunk.get("choices"):
                yield event + b"\n\n"
                continue
            for choice in chunk["choices"]:
                streamed = choices.setdefault(choice["index"], _StreamedChoice(CallScanner(names)))
                for converted in streamed.convert(choice):
                    yield sse_event(chunk | {"choices": [converted]})
    if buffer:
        yield buffer


def _json_data(event: bytes) -> dict[str, Any] | None:
    data = event.removeprefix(b"data:").strip()
    return json.loads(data) if data.startswith(b"{") else None


@dataclass
class _StreamedChoice:
    """The state of a streamed answer.

    Attributes:
        calls: Number of tool calls so far.
    """

    scanner: "CallScanner"
    calls: int = 0

    def convert(self, choice: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the choices to send instead of one that llama.cpp sent."""
        delta, reason = dict(choice.get("delta") or {}), choice.get("finish_reason")
        content = delta.pop("content") if isinstance(delta.get("content"), str) else ""
        pieces = [*self.scanner.feed(content), *(self.scanner.close() if reason else ())]
        self.calls += len(delta.get("tool_calls") or [])
        deltas = [delta] if delta else []
        for piece in pieces:
            if isinstance(piece, str):
                deltas.append({"content": piece})
            else:
                deltas.append({"tool_calls": [{"index": self.calls + i} | call for i, call in enumerate(piece)]})
                self.calls += len(piece)
        for sent in deltas:
            yield {**choice, "delta": sent, "finish_reason": None}
        if reason:
            yield {**choice, "delta": {}, "finish_reason": "tool_calls" if self.calls else reason}


@dataclass
class CallScanner:
    """Separates calls from text that arrives in pieces of any size. Only text that may be part of a call is held back.

    Attributes:
        names: The offered tools.
    """

    names: Collection[str]
    _text: str = field(default="", init=False)
    _only_calls: bool = field(default=True, init=False)  # so far: only then an object without a fence is a call
    _quoting: bool = field(default=False, init=False)  # inside a fenced block that is not a call

    def feed(self, text: str) -> Iterator[Piece]:
        """Add text, and yield the parts that are certain."""
        self._text += text
        return self._scan(final=False)

    def close(self) -> Iterator[Piece]:
        """Yield the rest at the end of the answer."""
        return self._scan(final=True)

    def _scan(self, *, final: bool) -> Iterator[Piece]:
        while self._text:
            found = self._next(final=final)
            if found is None:
                return
            length, piece = found
            self._text = self._text[length:]
            if piece:
                yield piece

    def _next(self, *, final: bool) -> tuple[int, Piece] | None:
        """Return the next piece and the length of its text, or None if more text is needed."""
        text = self._text
        begin = text.find(_FENCE)
        if self._quoting:
            self._quoting = begin < 0
            return self._text_before(begin + len(_FENCE) if begin >= 0 else -1, final=final)
        first = text.lstrip()[:1]
        if self._only_calls and first in ("{", "["):
            return self._block(_SPACE, final=final)
        if self._only_calls and not first and not final:
            return None
        if begin == 0:
            return self._block(_OPENING, final=final)
        found = self._text_before(begin, final=final)
        if found and found[1].strip():
            self._only_calls = False
        return found

    def _text_before(self, end: int, *, final: bool) -> tuple[int, str] | None:
        """Return the text before a position; if that is negative, all text except for the beginning of a fence."""
        if end < 0:
            end = len(self._text) if final else len(self._text.rstrip("`"))
        return (end, self._text[:end]) if end else None

    def _block(self, opening: re.Pattern[str], *, final: bool) -> tuple[int, Piece] | None:
        """Return the calls of a block, or the text of its opening if it does not begin with one."""
        text, fenced = self._text, opening is _OPENING
        start = end = position = _end_of(opening, text)
        calls: list[dict[str, Any]] = []
        while text[position : position + 1] in ("{", "["):
            try:
                value, value_end = _DECODER.raw_decode(text, position)
            except (ValueError, RecursionError) as error:  # a ValueError: a number of thousands of digits
                if not final and _is_incomplete(error, text):
                    return None
                break
            if not (found := _calls_in(value, self.names)):
                break
            calls += found
            end, position = value_end, _end_of(_SPACE, text, value_end)
        rest = text[position:]
        if fenced and _FENCE.startswith(rest) and not final:
            return None
        if not calls:
            self._quoting, self._only_calls = fenced, False
            return start, text[:start]
        is_closed = fenced and rest.startswith(_FENCE)
        self._quoting = fenced and not is_closed
        return position + len(_FENCE) if is_closed else end, calls


def _end_of(pattern: re.Pattern[str], text: str, start: int = 0) -> int:
    match = pattern.match(text, start)
    return match.end() if match else start


def _is_incomplete(error: Exception, text: str) -> bool:
    """Return whether more text may complete a JSON value that could not be decoded."""
    return isinstance(error, json.JSONDecodeError) and (
        error.pos > len(text) - _NEAR_END or error.msg.startswith("Unterminated")
    )


def _calls_in(value: object, names: Collection[str]) -> list[dict[str, Any]]:
    """Return the calls of a JSON value; nothing if any of it is not a call."""
    calls = [_call(entry, names) for entry in (value if isinstance(value, list) else [value])]
    return [call for call in calls if call] if all(calls) else []


def _call(value: object, names: Collection[str]) -> dict[str, Any] | None:
    if isinstance(value, Mapping) and isinstance(value.get("function"), Mapping):
        value = value["function"]
    if not isinstance(value, Mapping):
        return None
    name = value.get("name")
    if not isinstance(name, str) or name not in names:
        return None
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        try:
            arguments = _DECODER.decode(arguments)
        except (ValueError, RecursionError):
            return None
    if not isinstance(arguments, Mapping):
        return None
    try:
        written = json.dumps(arguments, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace").decode()
    except (ValueError, RecursionError):
        return None
    function = {"name": name, "arguments": written}
    return {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}
