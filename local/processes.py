"""A child process that is kept running."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

_STEADY_SECONDS = 60  # a child that has run this long has earned its tries back
_WRONG_SETTINGS = 2  # the exit status of a child that said itself why another try is no use


class ChildFailed(Exception):
    """A child ended and starting it again is no use. The message is one line."""


@dataclass
class Child:
    """A program, started again when it ends by itself.

    Attributes:
        name: As it is shown.
        command: The program and its arguments.
        environment: All of its environment.
        sockets: Listening sockets that it inherits. They stay open here, so a restart refuses no connection.
        log: Where its output goes; this terminal if not given.
        is_ready: Says whether it serves.
        on_start: Called after each start.
        stop_signal: Ends it in an orderly way.
        stop_seconds: After which it is killed.
        not_root: Whether it refuses to be root, and must seem to be somebody else where the launcher is.
        back_off: Seconds before each new try. After the last one it is given up.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    is_ready: Callable[[], Awaitable[bool]]
    sockets: Sequence[socket.socket] = ()
    log: Path | None = None
    on_start: Callable[[], None] = lambda: None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 15
    not_root: bool = False
    back_off: Sequence[float] = (0.5, 1, 2, 4, 8)
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start it once, and return when it serves.

        Raises:
            ChildFailed: if it ends before.
        """
        await self._spawn()
        while not await self.is_ready():
            if self.pid is None:
                raise ChildFailed(self._obituary())
            await asyncio.sleep(0.05)

    async def keep_running(self) -> None:
        """Start it again whenever it ends.

        Raises:
            ChildFailed: when it has ended too often.
        """
        tries = 0
        started = monotonic()
        while True:
            assert self._process is not None, "start() comes first"  # noqa: S101
            await self._process.wait()
            if monotonic() - started > _STEADY_SECONDS:
                tries = 0
            if tries == len(self.back_off) or self._process.returncode == _WRONG_SETTINGS:
                raise ChildFailed(self._obituary())
            delay = self.back_off[tries]
            tries += 1
            print(
                f"{self._obituary()}; starting it again in {delay} s ({tries} of {len(self.back_off)})",
                flush=True,
            )
            await asyncio.sleep(delay)
            started = monotonic()
            await self._spawn()

    async def stop(self) -> None:
        """End it: first in an orderly way, then by force."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(self.stop_signal)
        try:
            async with asyncio.timeout(self.stop_seconds):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _spawn(self) -> None:
        guard = [sys.executable, "-m", "local.child", str(int(self.stop_signal)), str(os.getpid())]
        if self.not_root:
            guard.append("--not-root")
        output = self.log.open("ab") if self.log else None
        try:
            self._process = await asyncio.create_subprocess_exec(
                *guard,
                *self.command,
                env=dict(self.environment),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[one.fileno() for one in self.sockets],
                start_new_session=True,  # Ctrl-C reaches the launcher only, which ends its children in order
            )
        finally:
            if output:
                output.close()
        self.on_start()

    def _obituary(self) -> str:
        code = self._process.returncode if self._process else None
        how = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with status {code}"
        return f"{self.name} {how}" + (f", see {self.log}" if self.log else "")
