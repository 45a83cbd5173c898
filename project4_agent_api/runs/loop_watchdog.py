"""What happens when a graph holds up its worker's event loop: a step that computes for long, or sleeps the wrong way.

Nothing else of the worker moves then, and nothing of what it does with its runs is wrong yet. So another thread keeps
their leases meanwhile. After `RUN_BLOCKING_SECONDS` it has the main thread interrupted by a signal, and what is being
executed there raises `LoopBlocked`: the run that holds up the others fails, and they go on. Code that no signal
interrupts (a library's own, that computes without end) is given one lease more; then the worker is left for dead.
"""

import asyncio
import signal
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from types import FrameType
from typing import Any
from uuid import UUID

import psycopg
from loguru import logger

from project4_agent_api.runs import repository as queue
from project4_agent_api.settings import Settings
from shared.background import in_background
from shared.database.engine import plain_address

_BEATS = 6  # of the loop, in one lease
_SIGNAL = signal.SIGUSR1
_OF_GRAPHS = ("langgraph.", "project4_agent_api.runs.execution", "project4_agent_api.graphs.registry")


class LoopBlocked(TimeoutError):
    """A graph has held up the event loop of its worker for too long."""


class LoopWatch:
    """Watches the event loop from another thread.

    Args:
        settings: How long a lease is, and how long the loop may be held up.
        claims: Gives the runs that are executed, each with its claim. It is called from the other thread.
    """

    def __init__(self, settings: Settings, claims: Callable[[], dict[UUID, UUID]]) -> None:
        self._settings = settings
        self._claims = claims
        self._seconds = settings.lease_seconds / _BEATS
        self._beaten = monotonic()
        self._over = threading.Event()
        self._watched = threading.get_ident()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch the loop of this block while it runs."""
        self._watched = threading.get_ident()
        interruptible = self._watched == threading.main_thread().ident
        before = signal.signal(_SIGNAL, self._interrupted) if interruptible else None
        thread = threading.Thread(target=self._watch, name="loop-watch", args=[interruptible], daemon=True)
        self._beaten = monotonic()
        thread.start()
        try:
            async with in_background(self._beat()):
                yield
        finally:
            self._over.set()
            await asyncio.to_thread(thread.join)
            if interruptible:
                signal.signal(_SIGNAL, before)

    async def _beat(self) -> None:
        while True:
            self._beaten = monotonic()
            await asyncio.sleep(self._seconds)

    def _watch(self, interruptible: bool) -> None:
        longest = self._settings.run_blocking_seconds
        told = False
        while not self._over.wait(self._seconds):
            late = monotonic() - self._beaten
            if late < 2 * self._seconds:
                told = False
                continue
            if not told:
                frame = sys._current_frames().get(self._watched)  # noqa: SLF001  documented, in spite of its name
                stack = "".join(traceback.format_stack(frame)[-5:])
                logger.warning("the event loop has been held up for {:.1f} s:\n{}", late, stack)
                told = True
            if late > longest and interruptible:
                signal.pthread_kill(self._watched, _SIGNAL)
            if late < longest + self._settings.lease_seconds:
                self._extend()

    def _extend(self) -> None:
        claims = self._claims()
        seconds = self._settings.lease_seconds
        try:
            with psycopg.connect(
                plain_address(self._settings),
                autocommit=True,
                connect_timeout=self._settings.db_connect_timeout_seconds,
                options=f"-c statement_timeout={round(self._settings.db_statement_timeout_seconds * 1000)}",
                application_name="ai-backend-capstones",
            ) as connection:
                connection.execute(queue.EXTEND, queue.extension(claims, seconds))
        except psycopg.Error as error:
            logger.warning("leases are not kept: {}", type(error).__name__)

    def _interrupted(self, _number: int, frame: FrameType | None) -> Any:  # noqa: ANN401  as `signal` wants it
        """Run in the main thread, in the midst of whatever it does."""
        if monotonic() - self._beaten < self._settings.run_blocking_seconds or not _is_of_a_graph(frame):
            return
        raise LoopBlocked(
            f"The graph has held up its worker's event loop for {self._settings.run_blocking_seconds:g} s. "
            "What takes long belongs into a step that is no `async def`, or into a thread."
        )


def _is_of_a_graph(frame: FrameType | None) -> bool:
    while frame:
        if frame.f_globals.get("__name__", "").startswith(_OF_GRAPHS):
            return True
        frame = frame.f_back
    return False
