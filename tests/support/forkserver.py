"""Processes of a stage without its imports: each is forked from a process that has imported the stage once.

Importing stage 4 takes three seconds of a core, and its tests start some hundred processes. Otherwise a forked process
equals `python -m PACKAGE`, but for the costs that `tests.support.costs` reduces: it has its own environment, arguments
and standard streams, and can be signalled, frozen and killed. `tests/local/launcher` starts stages with the real
command line.

While coverage measures, and where there is no `fork`, the real command line is used everywhere.
"""

import ast
import atexit
import contextlib
import gc
import importlib.util
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import httpx2

from tests.support.costs import reduce_costs

ROOT = Path(__file__).parents[2]
_LARGEST_REQUEST = 1 << 20
_AVAILABLE = (
    sys.platform == "linux" and "COVERAGE_PROCESS_CONFIG" not in os.environ and "COVERAGE_RUN" not in os.environ
)


def start(
    package: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    listening: socket.socket | None = None,
    streams: tuple[int, int, int] = (0, 1, 2),
) -> subprocess.Popen[bytes]:
    """Start `python -m package arguments`.

    Args:
        package: A stage's.
        arguments: The command line.
        environment: All of the process's environment.
        listening: A socket that is handed over with `--fd`.
        streams: File descriptors that become its standard input, output and error.
    """
    # What the interpreter itself reads must be there when it starts.
    for_python = any(name.startswith("PYTHON") and os.environ.get(name) != environment[name] for name in environment)
    if _AVAILABLE and not for_python:
        with _lock:
            if package not in _servers:
                _servers[package] = _Server(package)
            return _servers[package].fork(arguments, environment, listening, streams)
    handed = [] if listening is None else [listening.fileno()]
    command = [sys.executable, "-m", package, *arguments, *(word for fd in handed for word in ("--fd", str(fd)))]
    stdin, stdout, stderr = streams
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, pass_fds=handed, stdin=stdin, stdout=stdout, stderr=stderr
    )


class _Server:
    """The process that has imported a package, seen from the tests."""

    def __init__(self, package: str) -> None:
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.support.forkserver", package, str(theirs.fileno())]
        self._process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()])
        theirs.close()
        atexit.register(self._stop)

    def fork(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        listening: socket.socket | None,
        streams: tuple[int, int, int],
    ) -> "_Forked":
        status, theirs = os.pipe()
        request = json.dumps([list(arguments), dict(environment)]).encode()
        handed = [theirs, *streams, *([listening.fileno()] if listening else [])]
        socket.send_fds(self._connection, [request], handed)
        os.close(theirs)
        return _Forked(arguments, status)

    def _stop(self) -> None:
        self._connection.close()
        self._process.wait()


class _Forked(subprocess.Popen[bytes]):
    """A process that is another one's child: its end is read from a pipe."""

    def __init__(self, arguments: Sequence[str], status: int) -> None:
        self.args = list(arguments)
        self.returncode: Any = None  # None while it runs
        self.stdin = self.stdout = self.stderr = None
        self._child_created = False  # not by this process: nothing to do in `__del__`
        self._status: IO[bytes] = os.fdopen(status, "rb", buffering=0)
        self._reading = threading.Lock()
        pid = self._status.readline()
        assert pid, "the process that forks has ended: its standard error says why"
        self.pid = int(pid)

    def poll(self) -> int | None:
        return self._end(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._end(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def _end(self, timeout: float | None) -> int | None:
        """Wait for the end; return the exit status, or None if it still runs."""
        if self.returncode is None:
            waiting = select.poll()
            waiting.register(self._status, select.POLLIN | select.POLLHUP)
            if waiting.poll(None if timeout is None else timeout * 1000):
                with self._reading:
                    if self.returncode is None:
                        self.returncode = int(self._status.readline())
                        self._status.close()
        code: int | None = self.returncode
        return code


_servers: dict[str, _Server] = {}
_lock = threading.Lock()


def _serve(package: str, connection: socket.socket) -> None:
    """Fork a process for each request, until the tests have ended. Returns in none of them."""
    gc.disable()
    main = importlib.util.find_spec(f"{package}.__main__")
    assert main
    assert main.origin
    for statement in ast.parse(Path(main.origin).read_text("utf-8")).body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            exec(compile(ast.Module([statement], []), main.origin, "exec"), {})  # noqa: S102  of the project's own code
    reduce_costs()
    httpx2.create_ssl_context()
    gc.collect()
    gc.freeze()
    gc.enable()
    assert len(os.listdir("/proc/self/task")) == 1, "a thread would not be forked"  # noqa: PTH208  its threads, as the kernel lists them
    while True:
        request, fds, _, _ = socket.recv_fds(connection, _LARGEST_REQUEST, 5)
        if not request:
            return
        status, *handed = fds
        if os.fork() == 0:
            connection.close()
            arguments, environment = json.loads(request)
            _watch(package, arguments, environment, status, handed)
        for fd in fds:
            os.close(fd)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


def _watch(package: str, arguments: list[str], environment: dict[str, str], status: int, handed: list[int]) -> None:
    """Fork the process proper, and tell the tests its number and its end."""
    pid = os.fork()
    if pid == 0:
        os.close(status)
        _become(package, arguments, environment, handed)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for fd in handed:
        os.close(fd)
    os.write(status, f"{pid}\n".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(status, f"{code}\n".encode())
    os._exit(0)


def _become(package: str, arguments: list[str], environment: dict[str, str], handed: list[int]) -> None:
    """Run the package as `python -m` does, and end the process as that would."""
    streams, listening = handed[:3], handed[3:]
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = [package, *arguments, *(word for fd in listening for word in ("--fd", str(fd)))]
    code: object = 0
    try:
        runpy.run_module(package, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001  as Python itself does
        sys.excepthook(*sys.exc_info())
        code = 1
    if not isinstance(code, int):
        print(code, file=sys.stderr)  # noqa: T201  as Python itself does
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter calls at its exit
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # freeing all that was imported would take a second, since each page is copied first


if __name__ == "__main__":
    _serve(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
