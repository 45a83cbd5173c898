"""Behaviours of the scripted model: how it answers a request."""

import asyncio
import base64
import itertools
import json
import math
import struct
import threading
import zlib
from typing import Any

from tests.support.scripted_model.connection import Behaviour, Connection

MODEL = "scripted-model"


def chunk(delta: dict[str, Any], finish_reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    fixed = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
    return json.dumps(fixed | {"choices": [choice]} | more).encode()


def says(
    text: str,
    tokens_per_second: float | None = None,
    *,
    finish_reason: str = "stop",
    delay: float = 0,
    last_word_after: threading.Event | None = None,
) -> Behaviour:
    """Answer with a text: whole, or word by word where a stream is asked for, its last word once an event is set."""
    words = [word if i == 0 else " " + word for i, word in enumerate(text.split(" "))]
    usage = {"prompt_tokens": 7, "completion_tokens": len(words), "total_tokens": 7 + len(words)}

    async def behaviour(connection: Connection) -> None:
        await asyncio.sleep(delay)
        if not connection.seen.body.get("stream"):
            await _answers({"role": "assistant", "content": text}, finish_reason, connection, usage)
            return
        await connection.start_stream()
        await connection.event(chunk({"role": "assistant", "content": ""}))
        for place, word in enumerate(words, 1):
            if last_word_after and place == len(words):
                await _released(last_word_after)
            await connection.event(chunk({"content": word}))
            if tokens_per_second:
                await asyncio.sleep(1 / tokens_per_second)
        await connection.event(chunk({}, finish_reason))
        if connection.seen.body.get("stream_options", {}).get("include_usage"):
            await connection.event(chunk({}, choices=[], usage=usage))
        await connection.event(b"[DONE]")
        await connection.end_stream()

    return behaviour


def calls(*wanted: tuple[str, str], finish_reason: str = "tool_calls", numbered: bool = True) -> Behaviour:
    """Call tools: each a name and its arguments as they stand on the wire. In a stream the arguments of all of them
    come in turn, three characters at a time."""
    ids = [f"call_{next(_CALLS)}" if numbered else None for _ in wanted]

    async def behaviour(connection: Connection) -> None:
        whole = [
            {"index": i, "id": ids[i], "type": "function", "function": {"name": name, "arguments": arguments}}
            for i, (name, arguments) in enumerate(wanted)
        ]
        if not connection.seen.body.get("stream"):
            await _answers({"role": "assistant", "content": None, "tool_calls": whole}, finish_reason, connection)
            return
        await connection.start_stream()
        for call in whole:
            start = {**call, "function": {"name": call["function"]["name"], "arguments": ""}}  # type: ignore[index]  # of a mapping of mixed values
            await connection.event(chunk({"role": "assistant", "content": None, "tool_calls": [start]}))
        for place in range(0, max(len(arguments) for _, arguments in wanted), 3):
            for i, (_, arguments) in enumerate(wanted):
                if piece := arguments[place : place + 3]:
                    await connection.event(chunk({"tool_calls": [{"index": i, "function": {"arguments": piece}}]}))
        await connection.event(chunk({}, finish_reason))
        await connection.event(b"[DONE]")
        await connection.end_stream()

    return behaviour


_CALLS = itertools.count(1)


def refuses(text: str) -> Behaviour:
    """Refuse, as OpenAI's endpoint does: in a field of its own, with no content."""

    async def behaviour(connection: Connection) -> None:
        if not connection.seen.body.get("stream"):
            await _answers({"role": "assistant", "content": None, "refusal": text}, "stop", connection)
            return
        await connection.start_stream()
        await connection.event(chunk({"role": "assistant", "content": "", "refusal": None}))
        for word in text.split(" "):
            await connection.event(chunk({"refusal": word + " "}))
        await connection.event(chunk({}, "stop"))
        await connection.event(b"[DONE]")
        await connection.end_stream()

    return behaviour


async def _answers(
    message: dict[str, Any], finish_reason: str, connection: Connection, usage: dict[str, int] | None = None
) -> None:
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": MODEL, "choices": [choice], "usage": usage}
    await connection.respond(200, json.dumps(body).encode(), "application/json")


def embedding_of(text: str, dimensions: int = 384) -> list[float]:
    """Return a vector in which each word, and each pair of neighbouring characters, has a place: no model, but alike
    texts get alike vectors."""
    words = text.lower().replace("passage: ", "").replace("query: ", "").split()
    features = words + [a + b for word in words for a, b in itertools.pairwise(word)]
    vector = [0.0] * dimensions
    for feature in features:
        vector[zlib.crc32(feature.encode("utf-8", "replace")) % dimensions] += 1.0
    norm = math.sqrt(sum(number * number for number in vector)) or 1.0
    return [number / norm for number in vector]


def embeds(dimensions: int = 384, *, delay: float = 0) -> Behaviour:
    """Answer with a vector for each text."""

    async def behaviour(connection: Connection) -> None:
        await asyncio.sleep(delay)
        texts = connection.seen.body["input"]
        texts = [texts] if isinstance(texts, str) else texts
        vectors = [embedding_of(text, dimensions) for text in texts]
        if connection.seen.body.get("encoding_format") == "base64":
            data: list[Any] = [base64.b64encode(struct.pack(f"<{dimensions}f", *vector)).decode() for vector in vectors]
        else:
            data = vectors
        items = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(data)]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        answer = {"object": "list", "model": connection.seen.body["model"], "data": items, "usage": usage}
        await connection.respond(200, json.dumps(answer).encode(), "application/json")

    return behaviour


def fails(
    status: int = 500, *, headers: dict[str, str] | None = None, error: dict[str, Any] | None = None
) -> Behaviour:
    """Answer with an error in OpenAI's shape."""
    body = {"error": error or {"message": "sk-secret-in-a-message went wrong", "type": "server_error", "code": None}}

    async def behaviour(connection: Connection) -> None:
        await connection.respond(status, json.dumps(body).encode(), "application/json", headers)

    return behaviour


def sends(body: bytes, content_type: str = "application/json", status: int = 200) -> Behaviour:
    """Answer with these bytes."""

    async def behaviour(connection: Connection) -> None:
        await connection.respond(status, body, content_type)

    return behaviour


def sends_json(body: object, status: int = 200) -> Behaviour:
    """Answer with this body."""
    return sends(json.dumps(body).encode(), status=status)


def streams(*events: bytes) -> Behaviour:
    """Stream these events' data, and end the response in an orderly way."""

    async def behaviour(connection: Connection) -> None:
        await connection.start_stream()
        for event in events:
            await connection.event(event)
        await connection.end_stream()

    return behaviour


def speaks(data: bytes) -> Behaviour:
    """Send these bytes as they are, and hang up: no HTTP."""

    async def behaviour(connection: Connection) -> None:
        await connection.send(data)
        connection.writer.close()

    return behaviour


def resets_after(tokens: int) -> Behaviour:
    """Stream some tokens, then reset the connection."""

    async def behaviour(connection: Connection) -> None:
        if tokens:
            await connection.start_stream()
        for number in range(tokens):
            await connection.event(chunk({"content": f"token{number} "}))
        await asyncio.sleep(0.05)
        connection.writer.transport.abort()

    return behaviour


def until_released(released: threading.Event, behaviour: Behaviour) -> Behaviour:
    """Do nothing until an event is set, and behave then."""

    async def held(connection: Connection) -> None:
        await _released(released)
        await behaviour(connection)

    return held


async def _released(event: threading.Event) -> None:
    while not event.is_set():  # noqa: ASYNC110  a test sets it, in another thread
        await asyncio.sleep(0.01)


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Behave so, one request after another, and as the last of them from then on."""
    turns = itertools.chain(behaviours, itertools.repeat(behaviours[-1]))

    async def behaviour(connection: Connection) -> None:
        await next(turns)(connection)

    return behaviour


def hangs(after: int = 0) -> Behaviour:
    """Stream some tokens, then nothing more, for ever."""

    async def behaviour(connection: Connection) -> None:
        if after:
            await connection.start_stream()
        for number in range(after):
            await connection.event(chunk({"content": f"token{number} "}))
        await asyncio.Event().wait()

    return behaviour
