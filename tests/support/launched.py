"""A launcher that runs, seen from outside."""

import contextlib
import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
SECONDS = 120  # until something is taken for hung; these machines are slow at times


class Launched:
    """A running launcher."""

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        *arguments: str,
        command: Sequence[str] = (),
        inherited: dict[str, str] | None = None,
    ) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command or [sys.executable, "-m", "local", *arguments],
            cwd=folder,
            env=(clean_environment() if inherited is None else inherited) | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        self.lines.extend(iter(self.process.stdout.readline, ""))

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def said(self, text: str) -> None:
        self.until(lambda: text in self.output, f"{text!r} was not said")

    def until(self, condition: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"{otherwise}; it said:\n{self.output}"
            time.sleep(0.02)

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def descendant(self, name: str) -> psutil.Process:
        (found,) = [process for process in self.descendants() if name in " ".join(process.cmdline())]
        return found

    def ends(self) -> int:
        status = self.process.wait(SECONDS)
        self._reader.join(SECONDS)
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.ends()
        assert self.process.stdout
        self.process.stdout.close()


def clean_environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "LC_ALL", "LC_MESSAGES"}}
    return kept | {"PYTHONPATH": str(ROOT), "LANG": "C.UTF-8"}


def free_port() -> int:
    """Return a port on which nobody listens, and never the same one twice.

    It is below the kernel's ephemeral ports, and each worker of pytest-xdist looks in a range of
    its own: between this call and the use of the port nobody else happens to take it.
    """
    for port in itertools.islice(_PORTS, _PORTS_OF_A_WORKER):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise RuntimeError("no port is free")


_PORTS_OF_A_WORKER = 500


def _ports() -> Iterator[int]:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 10_000 + worker * _PORTS_OF_A_WORKER % 20_000
    start = os.getpid() * 37 % _PORTS_OF_A_WORKER  # two runs on one machine should not meet
    return itertools.cycle(first + (start + place) % _PORTS_OF_A_WORKER for place in range(_PORTS_OF_A_WORKER))


_PORTS = _ports()


def assert_gone(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, timeout=SECONDS)
    assert alive == []
