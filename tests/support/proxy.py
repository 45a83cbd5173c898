"""A TCP proxy between a process and a server, that can refuse connections, or stall them."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")
_TURNS_TO_SERVE = 4  # of the event loop, from accepting a connection to the first line of its handler


class Background:
    """An event loop in a thread of its own, for what must go on while a test waits."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(120)

    def close(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


class Proxy:
    """Passes on what comes to its port, which stays its own while it refuses connections.

    Args:
        background: The event loop that it runs on.
        target: The port that it is passed on to.
    """

    def __init__(self, background: Background, target: int) -> None:
        self._background = background
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._flowing = background.run(_event())
        self._taken = socket.socket()
        self._taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the server may listen where this is bound
        self._taken.bind(("127.0.0.1", 0))
        self.port: int = self._taken.getsockname()[1]
        self._server = background.run(self._listen())

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Break off all connections, and take no new one, while the block runs."""
        self._background.run(self._shut())
        try:
            yield
        finally:
            self._server = self._background.run(self._listen())

    @contextmanager
    def stalling(self) -> Iterator[None]:
        """Keep all connections, and pass nothing on, while the block runs: as if the server were frozen."""
        self._background.run(_call(self._flowing.clear))
        try:
            yield
        finally:
            self._background.run(_call(self._flowing.set))

    def close(self) -> None:
        """End it."""
        self._background.run(self._shut())
        self._taken.close()

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, family=socket.AF_INET, reuse_address=True
        )

    async def _shut(self) -> None:
        # A server that is closed while it takes a connection loses the socket (CPython's issue 109564): accepted
        # connections are served first, and then aborted.
        for listener in self._server.sockets:
            asyncio.get_running_loop().remove_reader(listener.fileno())
        for _ in range(_TURNS_TO_SERVE):
            await asyncio.sleep(0)
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._flowing.wait()
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers.add(back)
            both = [asyncio.ensure_future(self._pass(reader, back)), asyncio.ensure_future(self._pass(there, writer))]
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in both:
                    one.cancel()
                await asyncio.wait(both)
                self._writers.discard(back)
                back.transport.abort()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()


async def _event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


async def _call(function: Callable[[], None]) -> None:
    function()
