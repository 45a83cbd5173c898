"""The embedded model server, started once for all tests of a process that ask it."""

import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.launched import ROOT, clean_environment


@pytest.fixture(scope="session")
def embedded_model_url() -> Iterator[str]:
    """The address of the embedded model server's API."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        command = [sys.executable, "-m", "local.model_server", "--fd", str(listening.fileno())]
        process = subprocess.Popen(
            command, cwd=ROOT, env=clean_environment(), pass_fds=[listening.fileno()], stdout=subprocess.DEVNULL
        )
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        finally:
            process.terminate()
            process.wait(60)
