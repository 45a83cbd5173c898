"""A stage as a process of its own, so that it can be killed, frozen and started again."""

import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.support import forkserver


@contextmanager
def served(
    package: str, environment: Mapping[str, str], *command: str
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Serve a stage, or one of its commands that serves, while the block runs; give its URL and the process."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        serving(package, environment, listening, *command) as process,
    ):
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", process


@contextmanager
def serving(
    package: str, environment: Mapping[str, str], listening: socket.socket, *command: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Serve on a socket that stays open when the process ends: a client that connects waits for the next one."""
    process = forkserver.start(package, command, os.environ | environment, listening=listening)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(120)


def run(
    package: str, *arguments: str, environment: Mapping[str, str], says: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a command of a stage with exactly this environment and standard input; return its exit status and output."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        stdin.write(says.encode())
        stdin.seek(0)
        streams = (stdin.fileno(), stdout.fileno(), stderr.fileno())
        status = forkserver.start(package, arguments, environment, streams=streams).wait(120)
        stdout.seek(0)
        stderr.seek(0)
        return subprocess.CompletedProcess(arguments, status, stdout.read().decode(), stderr.read().decode())
