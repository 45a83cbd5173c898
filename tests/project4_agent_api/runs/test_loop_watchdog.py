"""The watchdog of a worker's event loop: it interrupts graph code, and never the service's own."""

import asyncio
import importlib
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, TypedDict

import pytest
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

from project4_agent_api.agents import agent
from project4_agent_api.core import serialization
from project4_agent_api.core.telemetry import calls
from project4_agent_api.graphs import checkpointer, registry
from project4_agent_api.runs import execution, graph_events, loop_watchdog
from project4_agent_api.runs.loop_watchdog import LoopBlocked, LoopWatchdog, is_graph_code
from project4_agent_api.settings import Settings
from project4_agent_api.store import service as store
from shared.models import endpoint

TEAM = "*langgraph_json_0123456789ab_team"  # the module of a file that a `langgraph.json` names
NODE = ("*langgraph._internal._runnable", TEAM)
SAVER = ("*langgraph.pregel._loop", f"*{checkpointer.__name__}")
EXECUTION, REGISTRY = f"*{execution.__name__}", f"*{registry.__name__}"


def function_of(module: str, expression: str) -> Callable[..., Any]:
    """Compile a function of one parameter, `inner`, whose frames belong to a module of any name; `*` in front of the
    name makes it a coroutine that is driven by hand."""
    source = f"def call(inner):\n    return {expression}"
    if module.startswith("*"):
        source = f"""
async def awaited(inner):
    return {expression}

def call(inner):
    try:
        awaited(inner).send(None)
    except StopIteration as end:
        return end.value
"""
    names: dict[str, Any] = {"__name__": module.removeprefix("*"), "sys": sys}
    exec(source, names)  # noqa: S102  real frames of modules that cannot be made to block
    function: Callable[..., Any] = names["call"]
    return function


def call_through(modules: tuple[str, ...], inner: Callable[..., Any], expression: str = "inner()") -> Any:  # noqa: ANN401  the result of the innermost call
    """Evaluate an expression of `inner` below frames of some modules, the outermost first."""
    *outer, innermost = modules
    function = partial(function_of(innermost, expression), inner)
    for module in reversed(outer):
        function = partial(function_of(module, "inner()"), function)
    return function()


class TestGraphCode:
    @pytest.mark.parametrize(
        "modules",
        [
            pytest.param(NODE, id="node"),
            pytest.param((*NODE, "json", "json.encoder"), id="standard library"),
            pytest.param((*NODE, "subprocess", "selectors"), id="waiting for a process"),
            pytest.param((*NODE, "requests.api", "urllib3.connection", "ssl"), id="library of its own"),
            pytest.param((*NODE, "psycopg.connection", "psycopg.waiting"), id="database of its own"),
            pytest.param((*NODE, "langchain_core.language_models.chat_models", "httpx._client"), id="model"),
            pytest.param((*NODE, "langgraph.pregel.main", "concurrent.futures._base", "threading"), id="sync subgraph"),
            pytest.param((*NODE, "*langgraph.pregel.main", *NODE), id="subgraph's node"),
            pytest.param((*NODE, "importlib", "_frozen_importlib", "team_library"), id="module that it imports"),
            pytest.param((*NODE, "logging", "team_logging"), id="log handler of its own"),
            pytest.param(("*langgraph._internal._runnable", "*langchain.agents.factory"), id="agent of LangChain"),
            pytest.param(("*langgraph._internal._runnable", f"*{agent.__name__}"), id="built-in graph"),
            pytest.param(("asyncio.events", "*langchain_core.tools.structured", TEAM), id="tool in a task"),
            pytest.param(("*langgraph._internal._runnable", "*langchain_core.runnables.base", TEAM), id="runnable"),
            pytest.param(("langgraph.graph.state", "pydantic.main", TEAM), id="validator"),
            pytest.param((*SAVER, "langgraph.checkpoint.serde.jsonplus", TEAM), id="serializer"),
            pytest.param((EXECUTION, "contextlib", REGISTRY, "langgraph_json_team"), id="factory"),
            pytest.param((EXECUTION, "contextlib", REGISTRY, "contextlib", "team", "time"), id="context manager"),
        ],
    )
    def test_graphs_own_frames_are_graph_code(self, modules: tuple[str, ...]) -> None:
        assert call_through(modules, is_graph_code, "inner(sys._getframe())")

    @pytest.mark.parametrize(
        "modules",
        [
            pytest.param(("asyncio.events", "*langgraph.pregel.main", "langgraph.pregel._algo"), id="LangGraph"),
            pytest.param(("langgraph.pregel._algo", "copy"), id="standard library for LangGraph"),
            pytest.param(("langgraph.pregel._algo", "pydantic.main"), id="library for LangGraph"),
            pytest.param(("langgraph.pregel._algo", "namedtuple_StateSnapshot"), id="constructor of a named tuple"),
            pytest.param((*NODE, "*langgraph.pregel.main", "langgraph.pregel._algo"), id="LangGraph in a subgraph"),
            pytest.param(SAVER, id="checkpointer"),
            pytest.param((*SAVER, "*psycopg.cursor_async", "psycopg._connection_base"), id="driver"),
            pytest.param((*SAVER, "contextlib", "*psycopg_pool.pool_async", "selectors"), id="connection pool"),
            pytest.param((*NODE, "*langgraph.pregel.main", *SAVER, "*psycopg.cursor_async"), id="driver in a subgraph"),
            pytest.param(("*langgraph.checkpoint.postgres.aio", "*psycopg.cursor_async"), id="LangGraph's own saver"),
            pytest.param((*NODE, "*langgraph.store.base", f"*{store.__name__}", "*psycopg.cursor_async"), id="store"),
            pytest.param(
                (*NODE, "*langchain_core.runnables.base", f"*{endpoint.__name__}", "aiohttp.client"), id="model"
            ),
            pytest.param((*NODE, "langchain_core.callbacks.manager", calls.__name__), id="callback of the service"),
            pytest.param((*NODE, "*httpx._client", "*httpcore._async.connection", "ssl"), id="coroutine of a library"),
            pytest.param((*NODE, "asyncio.base_events", "threading"), id="event loop"),
            pytest.param((*NODE, "logging", "threading"), id="log"),
            pytest.param((*NODE, "loguru._logger"), id="loguru"),
            pytest.param((*NODE, "importlib", "_frozen_importlib"), id="import"),
            pytest.param((*NODE, "_weakrefset"), id="weak reference"),
            pytest.param((EXECUTION,), id="execution"),
            pytest.param((EXECUTION, f"*{graph_events.__name__}", "json"), id="events"),
            pytest.param((EXECUTION, serialization.__name__, "team"), id="graph code called by the service"),
            pytest.param((EXECUTION, REGISTRY, "contextlib"), id="registry"),
            pytest.param(("project4_agent_api.runs.worker", "*psycopg.cursor_async"), id="worker"),
            pytest.param(("uvicorn.server", "asyncio.events", TEAM), id="nothing that calls graphs"),
        ],
    )
    def test_frames_of_the_service_and_its_libraries_are_no_graph_code(self, modules: tuple[str, ...]) -> None:
        assert not call_through(modules, is_graph_code, "inner(sys._getframe())")

    def test_empty_stack_is_no_graph_code(self) -> None:
        assert not is_graph_code(None)

    @pytest.mark.parametrize("module", loop_watchdog._CALLERS)
    def test_callers_of_graph_code_exist(self, module: str) -> None:
        assert importlib.import_module(module).__name__ == module


MakeWatchdog = Callable[..., LoopWatchdog]
send_signal = partial(signal.raise_signal, signal.SIGUSR1)  # no frame of its own: it arrives in the caller's


@pytest.fixture
def make_watchdog() -> MakeWatchdog:
    """Make a watchdog whose database is unavailable. By default its own thread sends nothing for ten seconds."""

    def make(*, run_blocking_seconds: float = 0.01, lease_seconds: float = 60) -> LoopWatchdog:
        settings = Settings(
            _env_file=None,
            app_env="test",
            openai_base_url="http://127.0.0.1:1/v1",
            llm_model="m",
            embedding_model="e",
            database_url="postgresql://127.0.0.1:1/none",
            redis_url="redis://127.0.0.1:1",
            jwt_secret="a secret of the tests, with more than 32 bytes",
            run_blocking_seconds=run_blocking_seconds,
            lease_seconds=lease_seconds,
        )
        return LoopWatchdog(settings, dict)

    return make


class TestSignals:
    async def test_signal_raises_only_in_graph_code(self, make_watchdog: MakeWatchdog) -> None:
        async with make_watchdog().watching():
            time.sleep(0.02)  # noqa: ASYNC251  the loop is blocked
            call_through((*SAVER, "*psycopg.cursor_async"), send_signal)
            call_through(SAVER, send_signal)

            with pytest.raises(LoopBlocked, match=r"blocked its worker's event loop for 0\.01 s"):
                call_through(NODE, send_signal)

    async def test_graph_has_an_interval_to_end_before_it_is_interrupted_again(
        self, make_watchdog: MakeWatchdog
    ) -> None:
        async with make_watchdog(lease_seconds=1.2).watching():
            time.sleep(0.02)  # noqa: ASYNC251  it is to block the loop
            with pytest.raises(LoopBlocked):
                call_through(NODE, send_signal)

            interrupted = time.monotonic()
            with pytest.raises(LoopBlocked):
                call_through(NODE, send_signal, "[inner() for _ in iter(int, 1)]")  # for ever

        assert time.monotonic() - interrupted > 0.19

    async def test_late_signal_does_nothing(self, make_watchdog: MakeWatchdog) -> None:
        async with make_watchdog(run_blocking_seconds=30).watching():
            call_through(NODE, send_signal)

    async def test_previous_handler_is_restored(self, make_watchdog: MakeWatchdog) -> None:
        before = signal.getsignal(signal.SIGUSR1)
        async with make_watchdog().watching():
            assert signal.getsignal(signal.SIGUSR1) != before
        assert signal.getsignal(signal.SIGUSR1) == before


class State(TypedDict, total=False):
    """State of the graphs below."""

    number: int


def compiled(node: Callable[..., Any], saver: InMemorySaver | None = None) -> Any:  # noqa: ANN401  LangGraph's type has four parameters
    """Compile a graph of one node."""
    return StateGraph(State).add_node("node", node).add_edge(START, "node").compile(checkpointer=saver)


class TestLoopWatchdog:
    async def test_slow_service_code_is_not_interrupted(
        self, make_watchdog: MakeWatchdog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        signalled: list[str] = []

        def decide(frame: FrameType | None) -> bool:
            assert frame
            signalled.append(frame.f_globals["__name__"])
            return is_graph_code(frame)

        monkeypatch.setattr(loop_watchdog, "is_graph_code", decide)
        async with make_watchdog(run_blocking_seconds=0.2, lease_seconds=1).watching():
            driver = (*SAVER, "*psycopg.cursor_async")
            call_through(driver, partial(len, signalled), "[None for _ in iter(lambda: inner() < 3, False)]")
            with pytest.raises(LoopBlocked):
                call_through(NODE, send_signal, "[None for _ in iter(int, 1)]")

        assert signalled[-1] == NODE[-1].removeprefix("*")
        assert set(signalled[:-1]) == {"psycopg.cursor_async"}
        assert len(signalled) >= 4

    async def test_blocking_node_is_interrupted(self, make_watchdog: MakeWatchdog) -> None:
        async def node(_: State) -> State:
            time.sleep(60)  # noqa: ASYNC251  it is to block the loop
            return {}

        async with make_watchdog(run_blocking_seconds=0.2, lease_seconds=1).watching():
            with pytest.raises(LoopBlocked):
                await compiled(node).ainvoke({"number": 1})

    async def test_blocking_tool_is_interrupted(self, make_watchdog: MakeWatchdog) -> None:
        @tool
        async def sleep(seconds: int) -> None:
            """Sleep."""
            time.sleep(seconds)  # noqa: ASYNC251  it is to block the loop

        async def node(_: State) -> State:
            await sleep.ainvoke({"seconds": 60})
            return {}

        async with make_watchdog(run_blocking_seconds=0.2, lease_seconds=1).watching():
            with pytest.raises(LoopBlocked):
                await compiled(node).ainvoke({"number": 1})

    async def test_unawaited_subgraph_is_interrupted(self, make_watchdog: MakeWatchdog) -> None:
        def inner_node(_: State) -> State:
            time.sleep(60)
            return {}

        async def node(state: State) -> State:
            compiled(inner_node).invoke(state)
            return {}

        async with make_watchdog(run_blocking_seconds=0.2, lease_seconds=1).watching():
            with pytest.raises(LoopBlocked):
                await compiled(node).ainvoke({"number": 1})

    async def test_checkpointer_of_a_graph_is_never_interrupted(self, make_watchdog: MakeWatchdog) -> None:
        stored: list[str] = []

        class Saver(InMemorySaver):
            async def aput(self, *arguments: Any) -> RunnableConfig:
                stored.append("checkpoint")
                call_through((SAVER[-1], "*psycopg.cursor_async"), send_signal)
                return await super().aput(*arguments)

            async def aput_writes(self, *arguments: Any) -> None:
                stored.append(arguments[1][0][0])
                call_through((SAVER[-1], "*psycopg.cursor_async"), send_signal)
                await super().aput_writes(*arguments)

        async def node(_: State) -> State:
            send_signal()
            return {}

        async with make_watchdog().watching():
            await asyncio.sleep(0.02)  # the next beat comes in ten seconds: for the watchdog the loop is blocked
            with pytest.raises(LoopBlocked):
                await compiled(node, Saver()).ainvoke(
                    {"number": 1}, {"configurable": {"thread_id": "1"}}, durability="sync"
                )

        assert (stored[0], stored[-1]) == ("checkpoint", "__error__")
