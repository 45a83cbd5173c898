"""The client of all benchmarks: a persistent HTTP/1.1 connection with the minimum that HTTP requires.

A full HTTP library needs more time per request than some of the servers here, so it would dominate the results.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


def get(path: str) -> bytes:
    """Return a GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def post(path: str, body: dict[str, Any], token: str | None = None) -> bytes:
    """Return a POST request with a JSON body."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
    head += f"\r\nAuthorization: Bearer {token}" if token else ""
    return f"{head}\r\nContent-Length: {len(content)}\r\n\r\n".encode() + content


class UnexpectedAnswer(Exception):
    """The response is incomplete, or its status is neither 200 nor 201."""


@dataclass(frozen=True)
class Connection:
    """One connection to a server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, port: int) -> "Connection":
        """Connect to a port of this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def close(self) -> None:
        """Close the connection."""
        self.writer.close()

    async def exchange(self, request: bytes) -> bytes:
        """Send a request, and return the body of the response.

        Raises:
            UnexpectedAnswer: if the status is neither 200 nor 201.
        """
        head = await self._head(request)
        if length := _LENGTH.search(head):
            return await self.reader.readexactly(int(length[1]))
        return b"".join([chunk async for _, chunk in self._chunks()])

    async def events(self, request: bytes) -> AsyncIterator[tuple[int, bytes]]:
        """Send a request, and yield each server-sent event of the response with the time of its receipt in ns.

        Raises:
            UnexpectedAnswer: if the status is neither 200 nor 201.
        """
        await self._head(request)
        unfinished = b""
        async for received, chunk in self._chunks():
            *events, unfinished = (unfinished + chunk).replace(b"\r\n", b"\n").split(b"\n\n")
            for event in events:
                yield received, event

    async def _chunks(self) -> AsyncIterator[tuple[int, bytes]]:
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            chunk = await self.reader.readexactly(size + 2)
            yield perf_counter_ns(), chunk[:-2]
        await self.reader.readexactly(2)

    async def _head(self, request: bytes) -> bytes:
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        if not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")):
            length = _LENGTH.search(head)
            body = await self.reader.readexactly(int(length[1])) if length else b""
            raise UnexpectedAnswer((head.splitlines()[0] + b" " + body).decode("latin-1"))
        return head
