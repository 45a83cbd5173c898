"""The control of the launcher's processes, which the page's X-ray asks through a Unix socket: `shared/xray/control.py`.

It acts only on processes that this launcher has started. Frozen ones run again before the launcher stops them.
"""

import asyncio
import contextlib
import json
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

from local.processes import Child
from shared.xray.control import Action

# A slowed process runs for the second time of each period, and is stopped for the first.
_STOPPED_SECONDS, _RUNNING_SECONDS = 0.4, 0.1


class Control:
    """The control of some processes.

    Attributes:
        socket: Path of the socket, in a folder of this user alone.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="xray-")
        self.socket = Path(self._folder.name) / "control"
        self._children: dict[Action, Child] = {}
        self._active: dict[Action, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def serving(self, children: Sequence[Child]) -> AsyncIterator[None]:
        """Serve the control of processes while the block runs."""
        self._children = {child.action: child for child in children if child.action}
        server = await asyncio.start_unix_server(self._answer, self.socket)
        try:
            yield
        finally:
            server.close()
            for action in list(self._active):
                await self._end(action)
            self._folder.cleanup()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = json.loads(await reader.readline() or b"{}")
        if action := request.get("action"):
            await self._change(action, active=request["active"])
        state = {action: action in self._active for action in self._children}
        writer.write(json.dumps(state).encode() + b"\n")
        await writer.drain()
        writer.close()

    async def _change(self, action: Action, *, active: bool) -> None:
        child = self._children[action]
        if action == "kill_worker":
            child.kill()
        elif not active:
            await self._end(action)
        elif action not in self._active:
            work = _freeze(child) if action == "freeze_database" else _slow(child)
            self._active[action] = asyncio.create_task(work)
            await asyncio.sleep(0)  # until it has started

    async def _end(self, action: Action) -> None:
        if task := self._active.pop(action, None):
            task.cancel()
            await asyncio.wait([task])


async def _freeze(child: Child) -> None:
    """Stop a process and its children until cancelled."""
    try:
        _signal(child, signal.SIGSTOP)
        await asyncio.Event().wait()
    finally:
        _signal(child, signal.SIGCONT)


async def _slow(child: Child) -> None:
    """Let a process run a fifth of the time until cancelled."""
    try:
        while True:
            _signal(child, signal.SIGSTOP)
            await asyncio.sleep(_STOPPED_SECONDS)
            _signal(child, signal.SIGCONT)
            await asyncio.sleep(_RUNNING_SECONDS)
    finally:
        _signal(child, signal.SIGCONT)


def _signal(child: Child, number: signal.Signals) -> None:
    if child.pid is None:
        return
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(child.pid)
        process.send_signal(number)  # first, so that it starts no further children
        for descendant in process.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                descendant.send_signal(number)
