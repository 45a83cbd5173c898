"""A public internet on loopback: one server plays every address of a table of names."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpcore2

from shared.outbound.addresses import UnresolvableError


class Wires(httpcore2.AsyncNetworkBackend):
    """Connects to the loopback server that plays an address; notes every address."""

    def __init__(self, servers: dict[str, int], connected: list[str]) -> None:
        self._servers = servers
        self._connected = connected
        self._real = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  it is the client's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self._connected.append(host)
        if host not in self._servers:
            raise httpcore2.ConnectError(port)
        return await self._real.connect_tcp("127.0.0.1", self._servers[host], timeout, local_address, socket_options)


def table_of(names: dict[str, list[str]]) -> Callable[[str, int], Any]:
    async def resolve(host: str, port: int) -> Sequence[str]:
        del port
        if host not in names:
            raise UnresolvableError(host)
        return names[host]

    return resolve


Serving = bytes | Callable[[asyncio.StreamWriter], Any] | dict[str, bytes]  # always, by hand, or by path


def answer(content: bytes, content_type: str) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(content)}\r\n"
    return head.encode() + b"Set-Cookie: a=b\r\n\r\n" + content


def moved(location: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n".encode()


@asynccontextmanager
async def serving(
    what: Serving, heads: list[str] | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve while the block runs; give the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            if heads is not None:
                heads.append(head)
            if isinstance(what, bytes):
                writer.write(what)
            elif isinstance(what, dict):
                writer.write(what.get(head.split(" ")[1], b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"))
            else:
                await what(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    others = asyncio.all_tasks()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        left = asyncio.all_tasks() - others
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
