"""Supervised child processes."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from local.language import say
from local.python import GUARD, python
from shared.xray.control import Action

_STABLE_SECONDS = 60  # after this time the count of restarts starts over
_CONFIGURATION_ERROR = 2  # exit status of a child that has printed its configuration error


class ChildFailed(Exception):
    """A child exited and is not restarted. The message is one line."""


@dataclass
class Child:
    """A child process that is restarted when it exits by itself.

    Attributes:
        name: Shown in messages.
        sockets: Inherited listening sockets. The parent keeps them open, so a restart refuses no connection.
        log: File for the output; the terminal by default.
        drop_root: Whether the program refuses to run as root.
        back_off: Seconds to wait before each restart, up to the maximum number of restarts.
        action: The action that the page's X-ray offers for the process.
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
    drop_root: bool = False
    back_off: Sequence[float] = (0.5, 1, 2, 4, 8)
    action: Action | None = None
    _process: asyncio.subprocess.Process | None = field(default=None, init=False)
    _restarting: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    @property
    def pid(self) -> int | None:
        """The process id, or None if the process does not run."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def start(self) -> None:
        """Start the process, and wait until it serves.

        Raises:
            ChildFailed: if it exits before.
        """
        await self._spawn()
        while not await self.is_ready():
            if self.pid is None:
                raise ChildFailed(self._describe_exit())
            await asyncio.sleep(0.05)

    async def keep_running(self, *, wait_for_restart: bool = False) -> None:
        """Restart the process whenever it exits.

        Args:
            wait_for_restart: Whether a process with an invalid configuration is started again by `restart`, and is no
                failure.

        Raises:
            ChildFailed: when it has exited too often.
        """
        attempts = 0
        started = monotonic()
        while True:
            assert self._process is not None, "call start() first"  # noqa: S101  a fault of the caller
            await self._process.wait()
            if not self._restarting.is_set():
                if monotonic() - started > _STABLE_SECONDS:
                    attempts = 0
                delay = None
                if self._process.returncode == _CONFIGURATION_ERROR:
                    if not wait_for_restart:
                        raise ChildFailed(self._describe_exit())
                    say(f"{self._describe_exit()}; waiting for a change")
                elif attempts == len(self.back_off):
                    raise ChildFailed(self._describe_exit())
                else:
                    delay = self.back_off[attempts]
                    attempts += 1
                    say(f"{self._describe_exit()}; restarting in {delay} s ({attempts} of {len(self.back_off)})")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(delay):
                        await self._restarting.wait()
            if self._restarting.is_set():
                self._restarting.clear()
                attempts = 0
            started = monotonic()
            await self._spawn()

    async def restart(self) -> None:
        """Stop the process gracefully if it runs, and start it again while `keep_running` runs."""
        self._restarting.set()
        await self.stop()

    def kill(self) -> None:
        """Kill the process, which `keep_running` starts again; it does not count as a failure."""
        if self._process and self._process.returncode is None:
            self._restarting.set()
            self._process.kill()

    async def stop(self) -> None:
        """Stop the process gracefully, or kill it after `stop_seconds`."""
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
        guard = python(str(GUARD), str(int(self.stop_signal)), str(os.getpid()))
        if self.drop_root:
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
                pass_fds=[listening.fileno() for listening in self.sockets],
                start_new_session=True,  # Ctrl-C reaches only the launcher, which stops its children in order
            )
        finally:
            if output:
                output.close()
        self.on_start()

    def _describe_exit(self) -> str:
        code = self._process.returncode if self._process else None
        reason = f"was killed by {signal.Signals(-code).name}" if code and code < 0 else f"exited with status {code}"
        return f"{self.name} {reason}" + (f", see {self.log}" if self.log else "")
