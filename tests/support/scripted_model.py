"""An OpenAI-compatible model server on a real socket with scripted responses, which keeps the requests it saw.

It speaks HTTP itself, so that it can do what no framework lets a server do: break off, send garbage, say nothing.
"""

import asyncio
import base64
import itertools
import json
import math
import struct
import threading
import zlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

MODEL = "scripted-model"


@dataclass
class Seen:
    """One request, as the model server saw it."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    cancelled: bool = False  # the client hung up before the answer was complete
    finished: threading.Event = field(default_factory=threading.Event)


@dataclass
class Connection:
    """The connection that a behaviour answers on."""

    seen: Seen
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def respond(self, status: int, body: bytes, content_type: str, headers: dict[str, str] | None = None) -> None:
        lines = [f"HTTP/1.1 {status} X", f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        await self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    async def start_stream(self) -> None:
        await self.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")

    async def event(self, data: bytes) -> None:
        event = b"data: " + data + b"\n\n"
        await self.send(f"{len(event):x}\r\n".encode() + event + b"\r\n")

    async def end_stream(self) -> None:
        await self.send(b"0\r\n\r\n")


T = TypeVar("T")
Behaviour = Callable[[Connection], Coroutine[Any, Any, None]]


class ScriptedModel:
    """The server. `says`, `fails`, … set how it answers from then on; `then` sets different answers in turn."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.requests: list[Seen] = []
        self.embedded: list[Seen] = []  # those for embeddings, which are counted apart
        self.busiest = 0  # the most requests that were being answered at one time
        self._answering = 0
        self._behaviour: Behaviour = says("Hello!")
        self._embedding: Behaviour = embeds()
        self._queue: list[Behaviour] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, host, port))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"

    def reset(self) -> None:
        self.requests, self.embedded, self.busiest, self._queue = [], [], 0, []
        self.does(says("Hello!"))
        self.embeds(embeds())

    def does(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    def embeds(self, behaviour: Behaviour) -> None:
        """Answer requests for embeddings so from now on."""
        self._embedding = behaviour

    def then(self, *behaviours: Behaviour) -> None:
        """Answer the next requests so, one after another; after them as before."""
        self._queue = list(behaviours)

    def says(self, text: str, tokens_per_second: float | None = None, **options: Any) -> None:
        self.does(says(text, tokens_per_second, **options))

    def fails(self, status: int = 500, **options: Any) -> None:
        self.does(fails(status, **options))

    def resets_after(self, tokens: int) -> None:
        self.does(resets_after(tokens))

    def hangs(self, after: int = 0) -> None:
        self.does(hangs(after))

    def close(self) -> None:
        self._call(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _shut(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._serve_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        connection = Connection(Seen(head[0].split(" ")[1], headers, json.loads(body or b"{}")), writer)
        if connection.seen.path.endswith("/models"):
            await connection.respond(200, b'{"object":"list","data":[]}', "application/json")
            return True
        if connection.seen.path.endswith("/embeddings"):
            self.embedded.append(connection.seen)
            return await self._answer(self._embedding, connection, reader)
        self.requests.append(connection.seen)
        behaviour = self._queue.pop(0) if self._queue else self._behaviour
        return await self._answer(behaviour, connection, reader)

    async def _answer(self, behaviour: Behaviour, connection: Connection, reader: asyncio.StreamReader) -> bool:
        self._answering += 1
        self.busiest = max(self.busiest, self._answering)
        answer = asyncio.ensure_future(behaviour(connection))
        hang_up = asyncio.ensure_future(reader.read(1))  # clients here do not pipeline, so this ends at a hang-up only
        try:
            await asyncio.wait([answer, hang_up], return_when=asyncio.FIRST_COMPLETED)
            connection.seen.cancelled = not answer.done()
            return answer.done() and not connection.writer.is_closing() and not hang_up.done()
        finally:
            for task in (answer, hang_up):
                task.cancel()
            await asyncio.gather(answer, hang_up, return_exceptions=True)
            self._answering -= 1
            connection.seen.finished.set()


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
            start = {**call, "function": {"name": call["function"]["name"], "arguments": ""}}  # type: ignore[index]
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
