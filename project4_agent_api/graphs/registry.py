"""The registry of graphs: the built-in ones, and those of a team's `langgraph.json`.

A graph is a compiled graph, a `StateGraph` that is not compiled yet, an `@entrypoint` of the functional API, or a
factory: a function, or a context manager, each `async` or not, that returns one of these. A factory may take
the run's `RunnableConfig`, LangGraph's `ServerRuntime`, and `Services` (this service's own). A factory that takes
neither of the first two is called once, at startup; the others, and all context managers, are called for each run.
"""

import asyncio
import copy
import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore
from langgraph_sdk.runtime import AccessContext, ServerRuntime

# There is no public constructor; LangGraph's own server creates them this way.
from langgraph_sdk.runtime import _ExecutionRuntime as ExecutionRuntime
from langgraph_sdk.runtime import _ReadRuntime as ReadRuntime

from project4_agent_api.agents import agent, rag
from project4_agent_api.agents.services import Services
from project4_agent_api.core.expiring import ExpiringCache
from project4_agent_api.core.project_user import ProjectUser
from project4_agent_api.graphs import langgraph_json
from project4_agent_api.graphs.langgraph_json import NamedGraph, Project
from shared.errors import ConfigurationError, NotFound

Graph = Pregel[Any, Any, Any, Any]

_BUILT_IN: Mapping[str, NamedGraph] = {
    "agent": NamedGraph(agent.make_agent, agent.DESCRIPTION),
    "rag": NamedGraph(rag.make_rag, rag.DESCRIPTION),
}
_INSPECTED, _INSPECTED_SECONDS = 1000, 60.0
_GRAPH_KINDS = "a compiled graph, a StateGraph, an @entrypoint, or a function that returns one of these"


class Graphs:
    """The graphs by name. Created by `load`.

    Attributes:
        inspected: Input forms of these graphs. `replace` replaces it too. Its entries expire soon, because a
            factory may read something that changes.
    """

    def __init__(self, graphs: "Mapping[str, Graph | _Factory]", descriptions: Mapping[str, str | None]) -> None:
        self.inspected = ExpiringCache(_INSPECTED, _INSPECTED_SECONDS)
        self._graphs = graphs
        self._descriptions = descriptions

    @classmethod
    async def load(cls, source: Path | Project | None, services: Services) -> Self:
        """Load the built-in graphs, and those of a `langgraph.json`, which may replace them.

        Args:
            source: The file or the project; None for the built-in graphs only.

        Raises:
            ConfigurationError: with one line that names the graph and its fault.
        """
        # In a thread: a module may start an event loop of its own when it is imported.
        named = {**_BUILT_IN, **(await asyncio.to_thread(_named_graphs, source) if source else {})}
        graphs: dict[str, Graph | _Factory] = {}
        for name, graph in named.items():
            try:
                graphs[name] = await _load_graph(name, graph.value, services)
            except ConfigurationError as error:
                raise ConfigurationError(f"graph {name!r}: {error}") from None
        return cls(graphs, {name: graph.description for name, graph in named.items()})

    def replace(self, loaded: "Graphs") -> None:
        """Use other graphs from now on. Those that are open stay as they are."""
        vars(self).update(vars(loaded))

    def names(self) -> list[str]:
        """Return the names, the built-in graphs first."""
        return list(self._graphs)

    def description(self, name: str) -> str | None:
        """Return a graph's description for users."""
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
        """Open a graph with a checkpointer and a store, for as long as the block runs.

        Args:
            config: The run's config, for factories.
            checkpointer: Replaces the one that the graph was compiled with.
            store: Replaces the one that the graph was compiled with.
            access_context: The operation that opens the graph, for factories.

        Raises:
            NotFound: if there is no graph with this name.
            TypeError: if a factory returns no graph. Its own exceptions pass through.
        """
        graph = self._graphs.get(name)
        if graph is None:
            raise NotFound(f"There is no graph named {name}.")
        if isinstance(graph, Pregel):
            yield _with_persistence(graph, checkpointer, store)
            return
        async with AsyncExitStack() as stack:
            value = await graph.enter(stack, config, _runtime(access_context, config, store))
            yield _with_persistence(_compile(name, value), checkpointer, store)


def _named_graphs(source: Path | Project) -> Mapping[str, NamedGraph]:
    return (langgraph_json.read(source) if isinstance(source, Path) else source).graphs()


def _with_persistence(graph: Graph, checkpointer: BaseCheckpointSaver[Any] | None, store: BaseStore | None) -> Graph:
    clone = copy.copy(graph)  # `graph.copy()` would validate the graph each time
    clone.checkpointer = checkpointer
    clone.store = store
    return clone


def _compile(name: str, value: object) -> Graph:
    graph = value.compile() if isinstance(value, StateGraph) else value
    if not isinstance(graph, Pregel):
        raise TypeError(f"graph {name!r} is {type(value).__name__}, not {_GRAPH_KINDS}")
    if graph.name == "LangGraph":  # LangGraph's default for a graph without a name
        graph = copy.copy(graph)
        graph.name = name
    return graph


async def _load_graph(name: str, value: object, services: Services) -> "Graph | _Factory":
    if not isinstance(value, Pregel | StateGraph) and callable(value):
        factory = _inspect_factory(value, services)
        if factory.per_run:
            return factory
        value = await _call_at_startup(factory)
        if isinstance(value, AbstractAsyncContextManager | AbstractContextManager):
            return factory
    try:
        return _compile(name, value)
    except TypeError:
        raise ConfigurationError(f"it is {type(value).__name__}, not {_GRAPH_KINDS}") from None
    except ValueError as error:  # LangGraph raises it for a graph with dangling edges
        raise ConfigurationError(f"it does not compile: {_first_line(error)}") from None


async def _call_at_startup(factory: "_Factory") -> object:
    try:
        return await factory.call(None, None)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(f"its factory failed: {type(error).__name__}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]


_Argument = Literal["config", "runtime", "services"]


@dataclass(frozen=True)
class _Factory:
    """A function that creates a graph, with the argument that each of its parameters takes."""

    function: Callable[..., Any]
    parameters: Mapping[str, _Argument]
    services: Services
    per_run: bool

    async def call(self, config: RunnableConfig | None, runtime: "ServerRuntime[Any] | None") -> object:
        """Call the function, and await its result if it is awaitable."""
        arguments = {"config": config, "runtime": runtime, "services": self.services}
        value = self.function(**{name: arguments[kind] for name, kind in self.parameters.items()})
        return await value if inspect.isawaitable(value) else value

    async def enter(self, stack: AsyncExitStack, config: RunnableConfig, runtime: "ServerRuntime[Any]") -> object:
        """Call the function for a run; a context manager is entered on the stack."""
        value = await self.call(config, runtime)
        if isinstance(value, AbstractAsyncContextManager):
            return await stack.enter_async_context(value)
        return stack.enter_context(value) if isinstance(value, AbstractContextManager) else value


def _inspect_factory(function: Callable[..., Any], services: Services) -> _Factory:
    unwrapped = inspect.unwrap(function)
    is_context_manager = inspect.isasyncgenfunction(unwrapped) or inspect.isgeneratorfunction(unwrapped)
    if is_context_manager and unwrapped is function:  # a context manager without its decorator
        decorate = asynccontextmanager if inspect.isasyncgenfunction(function) else contextmanager
        function = decorate(function)
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        raise ConfigurationError(f"it is {type(function).__name__}, not {_GRAPH_KINDS}") from None
    hints = _type_hints(unwrapped)
    arguments: dict[str, _Argument] = {}
    for parameter in parameters:
        kind = _argument_for(hints.get(parameter.name, parameter.annotation))
        if kind and kind not in arguments.values() and parameter.kind in _BY_NAME:
            arguments[parameter.name] = kind
        elif parameter.default is inspect.Parameter.empty:
            raise ConfigurationError(
                f"its factory takes {parameter.name!r}; it may take a RunnableConfig, a ServerRuntime and Services"
            )
    per_run = is_context_manager or not {"config", "runtime"}.isdisjoint(arguments.values())
    return _Factory(function, arguments, services, per_run)


_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def _type_hints(function: Callable[..., Any]) -> dict[str, Any]:
    names = {"RunnableConfig": RunnableConfig, "ServerRuntime": ServerRuntime, "Services": Services}
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return get_type_hints(target, localns=names)
    except Exception:  # noqa: BLE001  evaluating an annotation can raise anything; only the names above matter
        return {}


def _argument_for(annotation: Any) -> _Argument | None:  # noqa: ANN401  any annotation
    if get_origin(annotation) in (Union, UnionType):  # such as `RunnableConfig | None`
        return next((kind for kind in map(_argument_for, get_args(annotation)) if kind), None)
    if annotation is Services:
        return "services"
    if ServerRuntime in (annotation, get_origin(annotation)) or annotation in get_args(ServerRuntime.__value__):
        return "runtime"
    # LangGraph's own server passes the config to a parameter without an annotation.
    if annotation in (inspect.Parameter.empty, RunnableConfig, dict, Any) or get_origin(annotation) is dict:
        return "config"
    return None


def _runtime(access_context: AccessContext, config: RunnableConfig, store: BaseStore | None) -> "ServerRuntime[Any]":
    configurable = config.get("configurable", {})
    known = configurable.get("langgraph_auth_user") or configurable.get("langgraph_auth_user_id")
    user = ProjectUser(known) if known else None
    fields: dict[str, Any] = {"access_context": access_context, "user": user, "store": store}
    return ExecutionRuntime(**fields) if access_context == "threads.create_run" else ReadRuntime(**fields)
