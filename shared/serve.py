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
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.errors import ConfigurationError
from shared.logs import configure_logging
from shared.settings import Settings, SettingsT, load_settings
from shared.shutdown import Shutdown

_CLEANUP_SECONDS = 3.0  # time for requests whose connection was closed, before they are cancelled


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
        startup_check: Raises a `ConfigurationError` if the settings contradict the stored data.
        arguments: Arguments of the command line; those of the process by default.
        port_setting: Name of the setting with the port.
        behind_load_balancer: Whether to drain on a stop signal, until load balancers have noticed.

    With `--fd N` it serves the open socket N instead, which the launcher (or systemd) has passed on. The process exits
    with status 2 and a one-line message if the settings are invalid or the port is in use.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, help="number of an open listening socket")
    fd: int | None = parser.parse_args(arguments).fd
    try:
        settings = load_settings(settings_class)
        configure_logging(settings)
        if startup_check:
            asyncio.run(startup_check(settings))
        port: int = getattr(settings, port_setting)
        listening = socket.socket(fileno=fd) if fd is not None else listen(settings.host, port)
        app = create_app(settings)
    except ConfigurationError as error:
        sys.exit(_print_error(error))
    serve_app(app, settings, listening, drain_seconds=settings.drain_seconds if behind_load_balancer else 0)


def listen(host: str, port: int) -> socket.socket:
    """Open a listening TCP socket.

    Raises:
        ConfigurationError: if the address is in use or not permitted.
    """
    try:
        return socket.create_server(
            (host, port), backlog=2048, family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigurationError(f"cannot listen on {host}:{port} ({reason}); PORT chooses another port") from None


def serve_app(app: FastAPI, settings: Settings, listening: socket.socket, *, drain_seconds: float = 0) -> None:
    """Serve an app on an open socket until SIGINT or SIGTERM, then shut down as `shared.shutdown` describes.

    Args:
        drain_seconds: Time to keep serving while `/ready` fails. A second signal ends it.
    """
    config = uvicorn.Config(
        _with_short_configuration_errors(app),
        log_config=None,
        access_log=False,  # `RequestContext` logs each request, with its id
        server_header=False,
        forwarded_allow_ips=list(settings.forwarded_allow_ips),
        timeout_graceful_shutdown=round(settings.shutdown_timeout_seconds + _CLEANUP_SECONDS),
        ws_max_size=settings.max_body_kb * 1024,  # a message has the limit of a body
    )
    _tune_garbage_collector()
    # uvicorn raises the stop signal again at its end, which would make the exit status that of a failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    _Server(config, app.state.shutdown, drain_seconds, settings.shutdown_timeout_seconds).run(sockets=[listening])


def _with_short_configuration_errors(app: ASGIApp) -> ASGIApp:
    """Report a `ConfigurationError` of the startup as its one line; Starlette reports the traceback of any error."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        held: list[Message] = []

        async def hold_failure(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed":
                held.append(message)
            else:
                await send(message)

        try:
            await app(scope, receive, hold_failure)
        except ConfigurationError as error:
            held = [{"type": "lifespan.startup.failed", "message": str(error)}]
        finally:
            for message in held:
                await send(message)

    return served


class _Server(uvicorn.Server):
    """Uvicorn with a gradual shutdown.

    Args:
        state: Updated during the shutdown.
        drain_seconds: Time to keep accepting requests after a stop signal.
        finish_seconds: Time for open requests to finish after that.
    """

    def __init__(self, config: uvicorn.Config, state: Shutdown, drain_seconds: float, finish_seconds: float) -> None:
        super().__init__(config)
        self._shutdown_state = state
        self._drain_seconds = drain_seconds
        self._finish_seconds = finish_seconds

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a stop signal."""
        self._shutdown_state.started = True
        super().handle_exit(sig, frame)

    async def main_loop(self) -> None:
        """Serve until a stop signal, then drain."""
        await super().main_loop()
        logger.info("shutting down; still serving for {:g} s, but not ready", self._drain_seconds)
        until, signals = monotonic() + self._drain_seconds, len(self._captured_signals)
        while monotonic() < until and len(self._captured_signals) == signals:  # noqa: ASYNC110  a signal sets no event
            await asyncio.sleep(0.1)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more connections, and finish the open requests."""
        deadline = asyncio.get_running_loop().call_later(self._finish_seconds, self._close_connections)
        try:
            await super().shutdown(sockets)
        finally:
            deadline.cancel()

    def _close_connections(self) -> None:
        self._shutdown_state.closing_connections = True
        connections = list(self.server_state.connections)
        logger.info("closing {} open connections; their clients can reconnect elsewhere", len(connections))
        for connection in connections:
            connection.transport.close()


def _tune_garbage_collector() -> None:
    """Exclude the loaded modules from garbage collection, and collect less often.

    The libraries create half a million objects that never become garbage, and a full collection visits all of them: a
    pause of 100 ms. Measured with 16 connections and an instant model: the slowest answer went from 95 to 26 ms, and
    the processor time of an answer from 1.3 to 1.05 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _print_error(error: ConfigurationError) -> int:
    print(f"error: {error}", file=sys.stderr)  # noqa: T201  logging is not configured yet
    return 2
