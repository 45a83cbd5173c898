"""Runs an application under a real uvicorn on a real socket, in a thread of the test process."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from shared.serve import listen


@contextmanager
def running(app: ASGIApp) -> Iterator[str]:
    """Serve an app while the block runs, and give its URL."""
    listening = listen("127.0.0.1", 0)
    config = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2)
    started = threading.Event()

    class Announced(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            self.loop, self.stopping = asyncio.get_running_loop(), asyncio.Event()
            try:
                await super().startup(sockets)
            except SystemExit:  # the app's own startup failed, and uvicorn has logged why
                self.should_exit = True
            finally:
                started.set()

        async def main_loop(self) -> None:
            """Wait for the end. Uvicorn itself looks for it ten times a second."""
            await self.on_tick(0)
            await self.stopping.wait()

    server = Announced(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    if not started.wait(120) or not server.started:
        listening.close()
        raise RuntimeError("the app did not start: the log says why")
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.loop.call_soon_threadsafe(server.stopping.set)
        thread.join(20)
        listening.close()
    if thread.is_alive():
        raise RuntimeError("the app did not stop")
