"""Start each measured server in a separate process on a free loopback port, and always stop it."""

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import psutil
import uvicorn
from starlette.types import ASGIApp, Receive, Send

_START_SECONDS = 120  # on a machine that does other things
_STOP_SECONDS = 15
_PASSED_ON = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Server:
    """A running server, listening on 127.0.0.1."""

    port: int
    process: psutil.Process

    def cpu_seconds(self) -> float:
        """Return the CPU time used so far."""
        used = self.process.cpu_times()
        return used.user + used.system

    def memory_mb(self) -> float:
        """Return the resident memory in MB (10⁶ bytes)."""
        return self.process.memory_info().rss / 1e6

    async def settled_memory_mb(self) -> float:
        """Return the memory of a server run by `bench.collectable` after its background tasks and a collection."""
        await asyncio.sleep(0.5)
        self.process.send_signal(signal.SIGUSR1)
        await asyncio.sleep(0.5)
        return self.memory_mb()


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """Return the CPU time that processes and their children have used so far."""
    used = 0.0
    for process in processes:
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                times = each.cpu_times()
                used += times.user + times.system
    return used


@contextmanager
def running(module: str, *arguments: str, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Run a server while the block runs.

    Args:
        module: Run as `python -m MODULE ARGUMENTS --fd N`, where N is the number of a listening socket.
        environment: Added to a minimal environment. Nothing else of this process's environment is passed on, so that a
            `.env` or an exported key cannot change the results.

    Raises:
        RuntimeError: if the server exits before it responds; with the end of its output.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        port: int = listening.getsockname()[1]
        command = [sys.executable, "-m", module, *arguments, "--fd", str(listening.fileno())]
        with running_program(command, port, environment, pass_fds=[listening.fileno()]) as server:
            yield server


@contextmanager
def running_program(
    command: Sequence[str],
    port: int,
    environment: Mapping[str, str] | None = None,
    *,
    health: str = "/health",
    pass_fds: Sequence[int] = (),
) -> Iterator[Server]:
    """Run a program that serves a port while the block runs; see `running`.

    Args:
        health: Path that is answered with 200 as soon as the server is ready.
    """
    with tempfile.TemporaryFile() as output:
        # The guard stops the server if this process is killed.
        guard = [sys.executable, "-m", "local.child", str(int(signal.SIGTERM)), str(os.getpid())]
        process = subprocess.Popen(
            [*guard, *command],
            cwd=Path(__file__).parent.parent,
            env={name: os.environ[name] for name in _PASSED_ON if name in os.environ} | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=pass_fds,
        )
        try:
            if not _answers(port, process, health):
                output.seek(0)
                raise RuntimeError(f"{command} did not start: {output.read()[-2000:].decode(errors='replace')}")
            yield Server(port, psutil.Process(process.pid))
        finally:
            _end(process)


def _answers(port: int, process: subprocess.Popen[bytes], path: str) -> bool:
    """Wait for the first good response."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    give_up = monotonic() + _START_SECONDS
    while process.poll() is None and monotonic() < give_up:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(request)
                if connection.recv(12).endswith(b" 200"):
                    return True
        except OSError:
            pass
        sleep(0.05)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass
class Others:
    """The load by other processes while the block ran.

    Attributes:
        busy: The share of all cores' time used by processes other than this one and its children.
    """

    busy: float = 0


@contextmanager
def others_at_work() -> Iterator[Others]:
    """Measure the load by other processes. Servers that are started in the block must be stopped in it."""
    others = Others()
    machine_before, ours_before = psutil.cpu_times(), os.times()
    yield others
    machine, ours = psutil.cpu_times(), os.times()
    passed = sum(machine) - sum(machine_before)
    # A process that waits for a disk does not use the CPU.
    idle = sum(getattr(machine, kind, 0) - getattr(machine_before, kind, 0) for kind in ("idle", "iowait"))
    used_by_us = sum(ours[:4]) - sum(ours_before[:4])
    others.busy = max(0.0, (passed - idle - used_by_us) / passed)


async def read_body(receive: Receive) -> bytes:
    """Return the body of a request."""
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


async def send_json(send: Send, content: bytes) -> None:
    """Respond with JSON."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def serve_handed_socket(app: ASGIApp, arguments: Sequence[str] | None = None) -> None:
    """Serve an app on the socket that `running` handed over, with the settings of `shared.serve`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    fd: int = parser.parse_args(arguments).fd
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        timeout_keep_alive=600,  # a server that waits for its turn keeps its connections to the model
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=fd)])
