"""Watch a worker's event loop from another thread, and interrupt a graph that blocks it.

A step that computes for long in an `async def`, or that calls `time.sleep`, stops everything else in its worker, the
renewal of leases included. The watchdog renews them meanwhile. After `RUN_BLOCKING_SECONDS` it signals the main thread,
and the signal handler raises `LoopBlocked` there: the run that blocks the loop fails, and the others go on. Code that
no signal interrupts (a C extension that computes without end) gets one more lease; then other workers take the runs.

A signal arrives at any instruction of the main thread, and between the steps of a graph these are the checkpointer's,
the database driver's and the event loop's. An exception there costs a connection and the run its attempt, so the
handler raises only where graph code is executing. Elsewhere it returns, and the watchdog signals again.
"""

import asyncio
import signal
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE
from time import monotonic
from types import FrameType
from uuid import UUID

import psycopg
from loguru import logger

from project4_agent_api.runs.claims import RENEW_LEASES, renewal_parameters
from project4_agent_api.settings import Settings
from shared.background import background_task
from shared.database.driver import conninfo

_BEATS_PER_LEASE = 6
_RETRY_SECONDS = 0.05  # between two signals, until one finds graph code
_SIGNAL = signal.SIGUSR1

# Modules that call graph code: its nodes and tools, its factories and their context managers.
_CALLERS = ("langgraph", "langchain_core", "project4_agent_api.runs.execution", "project4_agent_api.graphs.registry")
_SERVICE = ("shared", "project1_qa_api", "project2_user_mgmt", "project3_rag_docs", "project4_agent_api")
_BUILT_IN_GRAPHS = ("project4_agent_api.agents",)
# Their locks and queues are the whole process's, and an exception can leave them broken, also under a graph.
_PROCESS_WIDE = (
    *("_frozen_importlib", "_frozen_importlib_external", "_weakrefset", "asyncio", "importlib", "logging", "loguru"),
    "weakref",
)
# Graphs, LangGraph and the service all call these: a frame of theirs does not show whose code is executing.
_LIBRARIES = sys.stdlib_module_names | {
    *("langgraph", "langgraph_sdk", "langchain_core", "langchain_mcp_adapters", "langchain_openai", "langsmith"),
    *("aiohttp", "anyio", "httpcore", "httpcore2", "httpx", "httpx2", "mcp", "openai", "psycopg", "psycopg_pool"),
    *("jsonpatch", "opentelemetry", "packaging", "pydantic", "redis", "tenacity", "typing_extensions", "uuid_utils"),
}


class LoopBlocked(TimeoutError):
    """A graph has blocked the event loop of its worker for too long."""


class LoopWatchdog:
    """Watch the event loop of a worker.

    Args:
        settings: The length of a lease, and how long the loop may be blocked.
        claims: Return the claims of the runs that are executing, by run id. Called from the watchdog's thread.
    """

    def __init__(self, settings: Settings, claims: Callable[[], dict[UUID, UUID]]) -> None:
        self._settings = settings
        self._claims = claims
        self._interval = settings.lease_seconds / _BEATS_PER_LEASE
        self._last_beat = monotonic()
        self._raised_at = float("-inf")
        self._finished = threading.Event()
        self._watched = threading.get_ident()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch the running event loop for as long as the block runs."""
        self._watched = threading.get_ident()
        interruptible = self._watched == threading.main_thread().ident
        previous = signal.signal(_SIGNAL, self._handle_signal) if interruptible else None
        thread = threading.Thread(target=self._watch, name="loop-watchdog", args=[interruptible], daemon=True)
        self._last_beat = monotonic()
        thread.start()
        try:
            async with background_task(self._beat()):
                yield
        finally:
            self._finished.set()
            await asyncio.to_thread(thread.join)
            if interruptible:
                signal.signal(_SIGNAL, previous)

    async def _beat(self) -> None:
        while True:
            self._last_beat = monotonic()
            await asyncio.sleep(self._interval)

    def _watch(self, interruptible: bool) -> None:
        limit = self._settings.run_blocking_seconds
        warned = False
        while not self._finished.wait(self._interval):
            late = monotonic() - self._last_beat
            if late < 2 * self._interval:
                warned = False
                continue
            if not warned:
                frame = sys._current_frames().get(self._watched)  # noqa: SLF001  documented, in spite of its name
                stack = "".join(traceback.format_stack(frame)[-5:])
                logger.warning("the event loop has been blocked for {:.1f} s:\n{}", late, stack)
                warned = True
            if late > limit and interruptible:
                self._interrupt()
            if late < limit + self._settings.lease_seconds:
                self._extend_leases()

    def _interrupt(self) -> None:
        """Signal the main thread until the handler raises or the loop beats, for one interval at most.

        The wait for the next interval follows, in which a graph that was interrupted can end.
        """
        raised_at, deadline = self._raised_at, monotonic() + self._interval
        while self._raised_at == raised_at and self._is_blocked() and monotonic() < deadline:
            signal.pthread_kill(self._watched, _SIGNAL)
            if self._finished.wait(_RETRY_SECONDS):
                return

    def _extend_leases(self) -> None:
        claims = self._claims()
        seconds = self._settings.lease_seconds
        try:
            with psycopg.connect(conninfo(self._settings), autocommit=True) as connection:
                connection.execute(RENEW_LEASES, renewal_parameters(claims, seconds))
        except psycopg.Error as error:
            logger.warning("leases could not be renewed while the event loop is blocked: {}", type(error).__name__)

    def _is_blocked(self) -> bool:
        return monotonic() - self._last_beat >= self._settings.run_blocking_seconds

    def _handle_signal(self, _number: int, frame: FrameType | None) -> None:
        """Raise `LoopBlocked` in the main thread if it is executing graph code.

        Raise once per interval: until the loop beats again, the code that handles the exception and the next steps of
        other runs look just as late.
        """
        if not self._is_blocked() or monotonic() - self._raised_at < self._interval or not is_graph_code(frame):
            return
        self._raised_at = monotonic()
        raise LoopBlocked(
            f"The graph blocked its worker's event loop for {self._settings.run_blocking_seconds:g} s. "
            "Move slow code into a step that is not an `async def`, or into a thread."
        )


def is_graph_code(frame: FrameType | None) -> bool:
    """Return whether a stack executes a graph's own code, or a library on its behalf, that may be interrupted.

    The first frame outward that belongs to no library decides: it must be the graph's, and reached from LangGraph
    without passing the service. So a graph that blocks in `json`, or in a database driver of its own, is interrupted. A
    library's coroutine is not: it does not block, and the next signal finds something else.
    """
    in_graph = False
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        if in_graph and _is_of(module, _CALLERS):
            return True
        if _is_of(module, _SERVICE) and not _is_of(module, _BUILT_IN_GRAPHS):
            return False
        if not in_graph:
            if _is_of(module, _PROCESS_WIDE):
                return False
            in_graph = not _is_library(module)
            if not in_graph and frame.f_code.co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR):
                return False
        frame = frame.f_back
    return False


def _is_of(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def _is_library(module: str) -> bool:
    # Generated code has no module name; the constructor of a named tuple has one of its own.
    package = module.partition(".")[0]
    return package in _LIBRARIES or package == "" or package.startswith("namedtuple_")
