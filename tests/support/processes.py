"""A stage as a process of its own, so that it can be killed, frozen and started again."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path(__file__).parents[2]


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
    """Serve on a socket that stays open when the process ends: whoever connects waits for the next one."""
    command = (sys.executable, "-m", package, *command, "--fd", str(listening.fileno()))
    process = subprocess.Popen(command, env=os.environ | environment, cwd=_ROOT, pass_fds=[listening.fileno()])
    try:
        yield process
    finally:
        process.terminate()
        process.wait(120)
