"""The graphs that this service runs: the built-in ones, and those that a team's `langgraph.json` names.

A graph is a compiled graph, a `StateGraph` that is still to be compiled, an `@entrypoint` of the functional API, or a
factory: a function, `async` or not, or an asynchronous context manager, that gives one of these. A factory may take the
run's `RunnableConfig`, LangGraph's `ServerRuntime`, and (ours alone) `Services`. One that takes neither of the first
two is called once, at the start; the others, and all context managers, for each run.
"""

import asyncio
import copy
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import AccessContext, ServerRuntime

# Nothing public makes one; LangGraph's own server makes them so.
from langgraph_sdk.runtime import _ExecutionRuntime as ExecutionRuntime
from langgraph_sdk.runtime import _ReadRuntime as ReadRuntime

from project4_agent_api.agents import agent, rag
from project4_agent_api.agents.services import Services
from project4_agent_api.graphs import langgraph_json
from project4_agent_api.graphs.langgraph_json import NamedGraph
from shared.errors import ConfigurationError, NotFound

Graph = Pregel[Any, Any, Any, Any]

_BUILT_IN: Mapping[str, NamedGraph] = {
    "agent": NamedGraph(agent.make_agent, agent.DESCRIPTION),
    "rag": NamedGraph(rag.make_rag, rag.DESCRIPTION),
}
_WHAT_GRAPHS_ARE = "a compiled graph, a StateGraph, an @entrypoint, or a function that returns one of these"


class Graphs:
    """Every graph by its name. Made by `load`."""

    def __init__(self, graphs: "Mapping[str, Graph | _Factory]", descriptions: Mapping[str, str | None]) -> None:
        self._graphs = graphs
        self._descriptions = descriptions

    @classmethod
    async def load(cls, path: Path | None, services: Services) -> Self:
        """Load the built-in graphs, and those of a `langgraph.json`, which may put others in their place.

        Args:
            path: The file; None for the built-in ones only.
            services: For factories that take it.

        Raises:
            ConfigurationError: of one line that names the graph and what is wrong with it.
        """
        # In a thread: what a module does when it is imported may want an event loop of its own.
        named = {**_BUILT_IN, **(await asyncio.to_thread(langgraph_json.read, path) if path else {})}
        graphs: dict[str, Graph | _Factory] = {}
        for name, graph in named.items():
            try:
                graphs[name] = await _loaded(name, graph.value, services)
            except ConfigurationError as error:
                raise ConfigurationError(f"graph {name!r}: {error}") from None
        return cls(graphs, {name: graph.description for name, graph in named.items()})

    def names(self) -> list[str]:
        """Return the names, the built-in ones first."""
        return list(self._graphs)

    def description(self, name: str) -> str | None:
        """Return what people are told of a graph."""
        return self._descriptions[name]

    @asynccontextmanager
    async def open(
        self,
        name: str,
        config: RunnableConfig,
        *,
        checkpointer: BaseCheckpointSaver[Any] | None,
        store: BaseStore | None,
        access_context: AccessContext = "threads.create_run",
    ) -> AsyncIterator[Graph]:
        """Give a graph that uses a saver and a store, for as long as the block runs.

        Args:
            name: Of the graph.
            config: Of the run; a factory may be given it.
            checkpointer: In place of whatever the graph was compiled with.
            store: Likewise.
            access_context: Why the graph is wanted; a factory may be told.

        Raises:
            NotFound: if there is no such graph.
            Exception: whatever a factory raises; a TypeError if what it gives is no graph.
        """
        graph = self._graphs.get(name)
        if graph is None:
            raise NotFound(f"There is no graph named {name}.")
        if isinstance(graph, Pregel):
            yield _using(graph, checkpointer, store)
            return
        async with AsyncExitStack() as stack:
            made = await graph.make(stack, config, _runtime(access_context, config, store))
            yield _using(_compiled(name, made), checkpointer, store)


def _using(graph: Graph, checkpointer: BaseCheckpointSaver[Any] | None, store: BaseStore | None) -> Graph:
    # `graph.copy()` would validate it again, each time.
    own = copy.copy(graph)
    own.checkpointer = checkpointer
    own.store = store
    return own


def _compiled(name: str, value: object) -> Graph:
    graph = value.compile() if isinstance(value, StateGraph) else value
    if not isinstance(graph, Pregel):
        raise TypeError(f"graph {name!r} is {type(value).__name__}, not {_WHAT_GRAPHS_ARE}")
    if graph.name == "LangGraph":  # what LangGraph calls one that was given no name
        graph = copy.copy(graph)
        graph.name = name
    return graph


async def _loaded(name: str, value: object, services: Services) -> "Graph | _Factory":
    if not isinstance(value, Pregel | StateGraph) and callable(value):
        factory = _factory_of(value, services)
        if factory.every_run:
            return factory
        value = await _tried(factory.call(None, None), "its factory failed")
        if isinstance(value, AbstractAsyncContextManager):
            return factory
    try:
        return _compiled(name, value)
    except TypeError:
        raise ConfigurationError(f"it is {type(value).__name__}, not {_WHAT_GRAPHS_ARE}") from None
    except ValueError as error:  # what LangGraph says of a graph with loose ends
        raise ConfigurationError(f"it does not compile: {_first_line(error)}") from None


async def _tried(made: Any, what: str) -> object:  # noqa: ANN401
    try:
        return await made
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"{what}: {type(error).__name__}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]


_Given = Literal["config", "runtime", "services"]


@dataclass(frozen=True)
class _Factory:
    """A function that makes a graph, and what each of its parameters is to be given."""

    function: Callable[..., Any]
    parameters: Mapping[str, _Given]
    services: Services
    every_run: bool

    async def call(self, config: RunnableConfig | None, runtime: "ServerRuntime[Any] | None") -> object:
        """Call it, and await what it returns where that is to be awaited."""
        given = {"config": config, "runtime": runtime, "services": self.services}
        made = self.function(**{name: given[kind] for name, kind in self.parameters.items()})
        return await made if inspect.isawaitable(made) else made

    async def make(self, stack: AsyncExitStack, config: RunnableConfig, runtime: "ServerRuntime[Any]") -> object:
        """Call it for a run; what it has to clean up afterwards is put on the stack."""
        made = await self.call(config, runtime)
        return await stack.enter_async_context(made) if isinstance(made, AbstractAsyncContextManager) else made


def _factory_of(function: Callable[..., Any], services: Services) -> _Factory:
    within = inspect.unwrap(function)
    manages = inspect.isasyncgenfunction(within)
    if inspect.isgeneratorfunction(within) or (manages and within is function):
        raise ConfigurationError("its factory is a generator; it has to be an `async` one, and @asynccontextmanager")
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise ConfigurationError(f"it is {type(function).__name__}, not {_WHAT_GRAPHS_ARE}") from None
    hints = _hints(within)
    given: dict[str, _Given] = {}
    for parameter in parameters:
        kind = _given_to(hints.get(parameter.name, parameter.annotation))
        if kind and kind not in given.values() and parameter.kind in _BY_NAME:
            given[parameter.name] = kind
        elif parameter.default is inspect.Parameter.empty:
            raise ConfigurationError(
                f"its factory takes {parameter.name!r}; it may take a RunnableConfig, a ServerRuntime and Services"
            )
    return _Factory(function, given, services, every_run=manages or bool({"config", "runtime"} & set(given.values())))


_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    known = {"RunnableConfig": RunnableConfig, "ServerRuntime": ServerRuntime, "Services": Services}
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return get_type_hints(target, localns=known)
    except Exception:  # noqa: BLE001  annotations are whatever somebody wrote; those of other names are not needed
        return {}


def _given_to(annotation: Any) -> _Given | None:  # noqa: ANN401
    if annotation is Services:
        return "services"
    if ServerRuntime in (annotation, get_origin(annotation)) or annotation in get_args(ServerRuntime.__value__):
        return "runtime"
    # LangGraph's own server gives the config to a parameter that says nothing of its type.
    if annotation in (inspect.Parameter.empty, RunnableConfig, dict, Any) or get_origin(annotation) is dict:
        return "config"
    return None


def _runtime(access_context: AccessContext, config: RunnableConfig, store: BaseStore | None) -> "ServerRuntime[Any]":
    configurable = config.get("configurable", {})
    user = _User(str(configurable["langgraph_auth_user_id"])) if "langgraph_auth_user_id" in configurable else None
    given: dict[str, Any] = {"access_context": access_context, "user": user, "store": store}
    return ExecutionRuntime(**given) if access_context == "threads.create_run" else ReadRuntime(**given)


@dataclass(frozen=True)
class _User:
    """Whose run it is, as LangGraph describes users to graphs."""

    identity: str
    is_authenticated: bool = True
    permissions: tuple[str, ...] = ()

    @property
    def display_name(self) -> str:
        return self.identity

    def __getitem__(self, key: str) -> Any:  # noqa: ANN401
        if key not in self:
            raise KeyError(key)
        return getattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in ("identity", "is_authenticated", "permissions", "display_name")

    def __iter__(self) -> Any:  # noqa: ANN401
        return iter(("identity", "is_authenticated", "permissions", "display_name"))
