"""A request to the scripted model, and the connection that it is answered on."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from tests.support.scripted_model.strictness import Violation


@dataclass
class Seen:
    """One request, as the model server saw it."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    violations: list[Violation] = field(default_factory=list)  # the rules that it broke, and was refused for
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
        await self.chunk(b"data: " + data + b"\n\n")

    async def chunk(self, data: bytes) -> None:
        """Send bytes of a stream as they are."""
        await self.send(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    async def end_stream(self) -> None:
        await self.send(b"0\r\n\r\n")


Behaviour = Callable[[Connection], Coroutine[Any, Any, None]]
