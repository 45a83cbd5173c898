"""How endpoints write their answers: the forms of ids, calls, reasoning, usage and server-sent events."""

import base64
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from tests.support.scripted_model.connection import Behaviour, Connection

_NUMBERS = itertools.count(1)
_PIECE = 7  # characters of a streamed text

Delta = dict[str, Any]


@dataclass(frozen=True)
class Wire:
    """The form of an endpoint's answers.

    Attributes:
        call_id: Makes the id of a tool call from a number.
        call_index: `index` of a call in a stream: its place, null, or no such field.
        whole_calls: Whether a stream has each call in one piece, instead of its arguments in pieces.
        object_arguments: Whether a whole answer has arguments as an object instead of a text.
        empty_content: `content` beside calls and reasoning.
        reasoning: The field of reasoning, `parts` of the content, or text before a closing tag (`</think>`), with an
            opening one or without it.
        signature: Whether the first call of an answer has a signature that has to come back.
        call_finish: `finish_reason` of a streamed answer with calls.
        usage: Usage of a stream: in a chunk of its own if the request asks for it, in the last chunk, or nowhere.
        line: End of a line of an event.
        space: White space after `data:`.
        comment: A comment that the server sends while it has nothing to say.
        done: Whether a stream ends with `[DONE]`.
        filter_results: Whether there are chunks without choices, and choices without delta, as Azure's filter sends.
    """

    call_id: Callable[[int], str | None] = lambda number: f"call_{number:024d}"
    call_index: Literal["number", "null", "none"] = "number"
    whole_calls: bool = False
    object_arguments: bool = False
    empty_content: str | None = None
    reasoning: Literal["reasoning_content", "reasoning", "details", "parts", "think", "no opening think"] | None = None
    signature: bool = False
    call_finish: str = "tool_calls"
    usage: Literal["own chunk", "last chunk"] | None = "own chunk"
    line: str = "\n"
    space: str = " "
    comment: str = ""
    done: bool = True
    filter_results: bool = False

    def answers(
        self, text: str = "", *calls: tuple[str, str], reasoning: str = "", finish_reason: str | None = None
    ) -> Behaviour:
        """Answer with a text, or call tools, in this form.

        Args:
            text: The text of the answer.
            calls: A name and its arguments as JSON each.
            reasoning: The model's reasoning before the answer; left out if the endpoint does not show it.
            finish_reason: If other than `stop` or `tool_calls`.
        """
        tool_calls = [self._call(place, *call) for place, call in enumerate(calls)]
        usage = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}

        async def behaviour(connection: Connection) -> None:
            if connection.seen.body.get("stream"):
                reason = finish_reason or (self.call_finish if calls else "stop")
                await self._stream(connection, list(self._deltas(text, reasoning, tool_calls)), reason, usage)
                return
            message = self._message(text, reasoning, tool_calls)
            reason = finish_reason or ("tool_calls" if calls else "stop")
            choice = {"index": 0, "message": message, "finish_reason": reason}
            body = _body("chat.completion", [choice], usage)
            blank = b"\n\n" if self.comment else b""
            await connection.respond(200, blank + json.dumps(body).encode(), "application/json")

        return behaviour

    def fails_in_stream(self, error: object, text: str = "") -> Behaviour:
        """Answer with the status 200, a text perhaps, and an error as an event."""

        async def behaviour(connection: Connection) -> None:
            await connection.start_stream()
            for piece in _pieces(text):
                await self._event(connection, _chunk({"content": piece}))
            await self._event(connection, error)
            await connection.end_stream()

        return behaviour

    def _call(self, place: int, name: str, arguments: str) -> dict[str, Any]:
        call: dict[str, Any] = {
            "id": self.call_id(next(_NUMBERS)),
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }
        if self.signature and place == 0:
            call["extra_content"] = {"google": {"thought_signature": signature_of(name, arguments)}}
        return call

    def _message(self, text: str, reasoning: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": text or self.empty_content}
        if self.reasoning == "reasoning_content":
            message["reasoning_content"] = reasoning
        match reasoning and self.reasoning:
            case "reasoning":
                message["reasoning"] = reasoning
            case "details":
                message |= {"reasoning": reasoning, "reasoning_details": [_detail(reasoning)]}
            case "parts":
                message["content"] = [_thinking(reasoning)] + ([{"type": "text", "text": text}] if text else [])
            case "think":
                message["content"] = f"<think>\n{reasoning}\n</think>\n\n{text}"
            case "no opening think":
                message["content"] = f"{reasoning}\n</think>\n\n{text}"
        if calls:
            message["tool_calls"] = calls
            if self.object_arguments:
                message["tool_calls"] = [
                    call | {"function": call["function"] | {"arguments": json.loads(call["function"]["arguments"])}}
                    for call in calls
                ]
        return message

    def _deltas(self, text: str, reasoning: str, calls: list[dict[str, Any]]) -> Iterator[Delta]:
        first = {"role": "assistant", "content": self.empty_content}
        yield first | ({"reasoning_content": ""} if self.reasoning == "reasoning_content" else {})
        match reasoning and self.reasoning:
            case "reasoning_content" | "reasoning" as name:
                yield from ({"content": None, name: piece} for piece in _pieces(reasoning))
            case "details":
                for piece in _pieces(reasoning):
                    yield {"content": "", "reasoning": piece, "reasoning_details": [_detail(piece)]}
            case "parts":
                yield from ({"content": [_thinking(piece)]} for piece in _pieces(reasoning))
            case "think" | "no opening think" as form:
                whole = f"{reasoning}\n</think>\n\n"
                yield from ({"content": piece} for piece in _pieces("<think>\n" + whole if form == "think" else whole))
        yield from ({"content": piece} for piece in _pieces(text))
        yield from self._call_deltas(calls)

    def _call_deltas(self, calls: list[dict[str, Any]]) -> Iterator[Delta]:
        for place, call in enumerate(calls):
            indexes: dict[str, dict[str, Any]] = {"number": {"index": place}, "null": {"index": None}, "none": {}}
            index = indexes[self.call_index]
            if self.whole_calls:
                yield {"content": self.empty_content, "tool_calls": [index | call]}
                continue
            name, arguments = call["function"]["name"], call["function"]["arguments"]
            yield {"tool_calls": [index | call | {"function": {"name": name, "arguments": ""}}]}
            for piece in _pieces(arguments):
                yield {"tool_calls": [index | {"function": {"arguments": piece}}]}

    async def _stream(
        self, connection: Connection, deltas: list[Delta], finish_reason: str, usage: dict[str, int]
    ) -> None:
        await connection.start_stream()
        if self.comment:
            await connection.chunk(f": {self.comment}{self.line}{self.line}".encode())
        if self.filter_results:
            await self._event(connection, _body("", []) | {"prompt_filter_results": [{"prompt_index": 0}]})
        for delta in deltas:
            await self._event(connection, _chunk(delta))
            if self.comment:
                await connection.chunk(f": {self.comment}{self.line}{self.line}".encode())
        if self.filter_results:
            checked = {"index": 0, "finish_reason": None, "content_filter_results": {"hate": {"filtered": False}}}
            await self._event(connection, _body("chat.completion.chunk", [checked]))
        asked = (connection.seen.body.get("stream_options") or {}).get("include_usage")
        last = _chunk({}, finish_reason)
        await self._event(connection, last | ({"usage": usage} if self.usage == "last chunk" else {}))
        if self.usage == "own chunk" and asked:
            await self._event(connection, _body("chat.completion.chunk", [], usage))
        if self.done:
            await connection.chunk(f"data:{self.space}[DONE]{self.line}{self.line}".encode())
        await connection.end_stream()

    async def _event(self, connection: Connection, data: object) -> None:
        await connection.chunk(f"data:{self.space}{json.dumps(data)}{self.line}{self.line}".encode())


def signature_of(name: str, arguments: str) -> str:
    """Return the signature of a call: a text without meaning to the client, by which a profile knows the call again.

    It does not depend on the spaces in the arguments.
    """
    return base64.b64encode(json.dumps([name, "".join(str(arguments).split())]).encode()).decode()


def _pieces(text: str) -> Iterator[str]:
    return (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))


def _thinking(text: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}


def _detail(text: str) -> dict[str, Any]:
    return {"type": "reasoning.text", "text": text, "format": "unknown", "index": 0}


def _body(kind: str, choices: list[Any], usage: dict[str, int] | None = None) -> dict[str, Any]:
    body = {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "scripted-model", "choices": choices}
    return body | ({"usage": usage} if usage else {})


def _chunk(delta: Delta, finish_reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return _body("chat.completion.chunk", [choice])
