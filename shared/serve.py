"""Serve a stage's application with uvicorn, the same way in development and production."""

import argparse
import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from time import monotonic
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from loguru import logger

from shared.errors import ConfigurationError
from shared.logs import configure_logging
from shared.settings import Settings, SettingsT, load_settings
from shared.shutdown import Shutdown

_CLEANUP_SECONDS = 3.0  # for what was cut off; after it, it is cancelled


def serve(
    settings_class: type[SettingsT],
    create_app: Callable[[SettingsT], FastAPI],
    startup_check: Callable[[SettingsT], Coroutine[Any, Any, None]] | None = None,
    *,
    arguments: Sequence[str] | None = None,
    port_setting: str = "port",
    behind_load_balancer: bool = True,
) -> None:
    """Read the settings, listen on `HOST` and `PORT`, and serve until a stop signal.

    Args:
        settings_class: The stage's.
        create_app: Makes its app.
        check: Raises a `ConfigurationError` where the settings do not go with what is stored.
        arguments: Of the command line; those of the process if not given.
        port_setting: Which setting names the port.
        balanced: Whether it is told to clients, by load balancers for example, which need a while to notice its end.

    With `--fd N` the open socket N is served instead, as the launcher (or systemd) hands it over.
    Ends the process with status 2 and one line where the settings are wrong or the port is taken.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, help="number of an open listening socket")
    fd: int | None = parser.parse_args(arguments).fd
    try:
        settings = load_settings(settings_class)
        if startup_check:
            asyncio.run(startup_check(settings))
        port: int = getattr(settings, port_setting)
        listening = socket.socket(fileno=fd) if fd is not None else listen(settings.host, port)
    except ConfigurationError as error:
        sys.exit(_complain(error))
    configure_logging(settings)
    serve_app(
        create_app(settings), settings, listening, drain_seconds=settings.drain_seconds if behind_load_balancer else 0
    )


def listen(host: str, port: int) -> socket.socket:
    """Open a listening TCP socket.

    Raises:
        ConfigurationError: if the address is taken or may not be used.
    """
    try:
        return socket.create_server(
            (host, port), backlog=2048, family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigurationError(f"cannot listen on {host}:{port} ({reason}); PORT chooses another port") from None


def serve_app(app: FastAPI, settings: Settings, listening: socket.socket, *, drain_seconds: float = 0) -> None:
    """Serve an app on an open socket until SIGINT or SIGTERM, and end as `shared.shutdown` describes.

    Args:
        app: The app.
        settings: Its settings.
        listening: The socket.
        drain_seconds: How long it goes on as if nothing was, but not ready. A second signal cuts that short.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # `RequestContext` writes that line, with the request id
        server_header=False,
        forwarded_allow_ips=list(settings.forwarded_allow_ips),
        timeout_graceful_shutdown=round(settings.shutdown_timeout_seconds + _CLEANUP_SECONDS),
    )
    _spare_the_collector()
    # uvicorn raises the signal that stopped it once more at its end. That was asked for, and is no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    _Server(config, app.state.shutdown, drain_seconds, settings.shutdown_timeout_seconds).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Uvicorn that lets go of its clients one after the other.

    Args:
        config: Uvicorn's.
        stopping: Told how far the end is.
        drain_seconds: How long clients may still come.
        finish_seconds: How long those who are there then may stay.
    """

    def __init__(self, config: uvicorn.Config, stopping: Shutdown, drain_seconds: float, finish_seconds: float) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._drain_seconds = drain_seconds
        self._finish_seconds = finish_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Take a signal."""
        self._stopping.started = True
        super().handle_exit(sig, frame)

    async def main_loop(self) -> None:
        """Serve until a signal, and some time beyond it."""
        await super().main_loop()
        logger.info("stopping; for {:g} s not ready, and still here", self._drain_seconds)
        until, signals = monotonic() + self._drain_seconds, len(self._captured_signals)
        while monotonic() < until and len(self._captured_signals) == signals:  # noqa: ASYNC110  a signal sets no event
            await asyncio.sleep(0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, finish what is open, and close."""
        hanging_up = asyncio.get_running_loop().call_later(self._finish_seconds, self._hang_up)
        try:
            await super().shutdown(sockets)
        finally:
            hanging_up.cancel()

    def _hang_up(self) -> None:
        self._stopping.closing_connections = True
        connections = list(self.server_state.connections)
        logger.info("{} connections are cut off; their clients go on elsewhere", len(connections))
        for connection in connections:
            connection.transport.close()


def _spare_the_collector() -> None:
    """Take what was loaded until now out of the garbage collector's sight, and call it less often.

    The libraries are some half a million objects that never become garbage, and a full collection looks at each of
    them: 100 ms in which nothing is answered. Measured at 16 connections asking an instant model: the slowest answer
    went from 95 to 26 ms, and the processor time of one from 1.3 to 1.05 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _complain(error: ConfigurationError) -> int:
    print(f"error: {error}", file=sys.stderr)  # noqa: T201  there is no log yet
    return 2
