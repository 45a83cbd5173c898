"""Graphs that use what the server gives them: the store, the context, the configuration."""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_config
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from typing_extensions import TypedDict  # typing's own has no schema before Python 3.12


class Note(TypedDict, total=False):
    """The item to write, and the item that was read."""

    place: str
    text: str
    found: list[str]


async def _remember(state: Note, *, store: BaseStore) -> Note:
    place = ("notes", state["place"])
    await store.aput(place, state["text"], {"text": state["text"]})
    return {"found": sorted(item.value["text"] for item in await store.asearch(place))}


memory = StateGraph(Note).add_node("remember", _remember).add_edge(START, "remember").compile()


class Setting(TypedDict, total=False):
    """The parts of a run besides its input."""

    colour: str


class Seen(TypedDict, total=False):
    """The values that the step received."""

    context: str | None
    given: dict[str, Any]
    tags: list[str]
    about: dict[str, Any]
    limits: dict[str, Any]


def _look(state: Seen, runtime: Runtime[Setting]) -> Seen:
    config = get_config()
    told = {name: value for name, value in config["configurable"].items() if isinstance(value, str | int)}
    metadata = {name: value for name, value in config["metadata"].items() if isinstance(value, str | int)}
    return {
        "context": (runtime.context or {}).get("colour"),
        "given": told,
        "tags": list(config.get("tags") or []),
        "about": metadata,
        "limits": {name: config.get(name) for name in ("max_concurrency", "recursion_limit")},
    }


configured = StateGraph(Seen, context_schema=Setting).add_node("look", _look).add_edge(START, "look").compile()


class Caller(TypedDict, total=False):
    """The user of the run, as the runtime and the configuration have it."""

    user: dict[str, Any]
    configured: dict[str, Any]
    server: list[str]


def _identify(state: Caller, runtime: Runtime[None]) -> Caller:
    configurable, server = get_config()["configurable"], runtime.server_info
    assert server
    names = ("identity", "display_name", "is_authenticated")
    configured = configurable["langgraph_auth_user"]
    return {
        "user": {name: getattr(server.user, name) for name in names},
        "configured": {name: configured[name] for name in names} | {"id": configurable["langgraph_auth_user_id"]},
        "server": [server.graph_id, server.assistant_id],
    }


caller = StateGraph(Caller).add_node("identify", _identify).add_edge(START, "identify").compile()


class Built(TypedDict, total=False):
    """The configuration that the graph was built with."""

    shape: str


def _build(shape: str) -> CompiledStateGraph[Built, None, Built, Built]:
    return StateGraph(Built).add_node("show", lambda state: {"shape": shape}).add_edge(START, "show").compile()


def factory(config: RunnableConfig) -> CompiledStateGraph[Built, None, Built, Built]:
    """Build the graph that the configuration asks for."""
    return _build(config.get("configurable", {}).get("shape", "round"))


async def async_factory(config: RunnableConfig) -> CompiledStateGraph[Built, None, Built, Built]:
    """Build it after waiting."""
    return factory(config)
