"""Rebuild the checkpoints of a thread from its states, as LangGraph's API shows them.

The API shows the values of a graph's channels, which nodes are next and what tasks have written, but neither the
versions of channels nor the objects in them. Objects are made with the graph's own channels, and versions so that
exactly the nodes that were next are next again. States inside a subgraph have a namespace, `node:task` for each graph
around them, and are rebuilt with the subgraph.
"""

import contextlib
import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import BaseMessage
from langgraph._internal._config import recast_checkpoint_ns  # there is no public name of either
from langgraph._internal._constants import CONFIG_KEY_CHECKPOINTER
from langgraph.channels.base import BaseChannel
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.pregel import Pregel
from langgraph.pregel._write import ChannelWrite, ChannelWriteEntry  # there is no public description of edges
from langgraph.types import Interrupt, Send, StateSnapshot
from pydantic import TypeAdapter

from project4_agent_api.core.serialization import dumps
from project4_agent_api.threads.snapshots import to_thread_state

Json = dict[str, Any]
_START, _TASKS = "__start__", "__pregel_tasks"
_ERROR, _INTERRUPT, _NO_WRITES = "__error__", "__interrupt__", "__no_writes__"
_PUSH = "__pregel_push"
_BRANCH, _JOIN = "branch:to:", "join:"  # channels of edges
_FORMAT = 4  # of LangGraph's checkpoints
# Parts of a state that have to be equal after the import.
_COMPARED = ("values", "next", "metadata", "created_at", "checkpoint_id", "parent_checkpoint_id", "interrupts")


@dataclass
class _Known:
    """A rebuilt checkpoint, on which later ones build."""

    values: Json = field(default_factory=dict)
    tasks: list[Json] = field(default_factory=list)
    objects: Json = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rebuilt:
    """The checkpoints of a thread in memory.

    Attributes:
        differing: How many of them do not read as the states from which they were made.
        incomplete: Whether the newest waits with something that the API does not show: the input of a node that was
            started by `Send`, or the route that an ended node has chosen.
    """

    saver: InMemorySaver
    differing: int
    incomplete: bool


async def rebuild(
    graph: Pregel[Any, Any, Any, Any],
    thread_id: str,
    states: Sequence[Json],
    inner: Mapping[str, Sequence[Json]] | None = None,
) -> Rebuilt:
    """Rebuild the checkpoints of a thread.

    Args:
        graph: A copy of its graph, whose checkpointer is replaced.
        states: The oldest first.
        inner: The states inside subgraphs, by namespace, each the oldest first.
    """
    saver = InMemorySaver()
    graph.checkpointer = saver
    differing = await _rebuild(graph, {"thread_id": thread_id, "checkpoint_ns": ""}, states, saver)
    incomplete = bool(states) and any(_hides(graph, task) for task in states[-1]["tasks"])
    for namespace, states_inside in (inner or {}).items():
        path = recast_checkpoint_ns(namespace)
        subgraph = dict(graph.get_subgraphs(namespace=path, recurse=True)).get(path)
        if not isinstance(subgraph, Pregel):
            incomplete = True
            continue
        location = {"thread_id": thread_id, "checkpoint_ns": namespace, CONFIG_KEY_CHECKPOINTER: saver}
        differing += await _rebuild(subgraph, location, states_inside, saver)
    return Rebuilt(saver, differing, incomplete)


async def _rebuild(
    graph: Pregel[Any, Any, Any, Any], location: Json, states: Sequence[Json], saver: InMemorySaver
) -> int:
    """Rebuild the checkpoints of one namespace, and return how many do not read as their states."""
    known: dict[str, _Known] = {}
    differing = 0
    for state in states:
        checkpoint_id, parent_id = state["checkpoint"]["checkpoint_id"], _parent_id(state)
        base = known.get(parent_id or "", _Known())
        current = known[checkpoint_id] = _next(graph, base, state, saver)
        new = {name: version for name, version in current.versions.items() if base.versions.get(name) != version}
        saver.put(_config(location, parent_id), _checkpoint(graph, state, current), state["metadata"], {**new})
        stored = _config(location, checkpoint_id)
        snapshot = await graph.aget_state(stored)
        for task_id, writes in _pending_writes(graph, state, snapshot).items():
            saver.put_writes(stored, writes, task_id)
        differing += not _equal(to_thread_state(await graph.aget_state(stored)), state)
    return differing


def _hides(graph: Pregel[Any, Any, Any, Any], task: Json) -> bool:
    if task.get("result") is None:
        return _is_push(task)
    writers = graph.nodes[task["name"]].writers if task["name"] in graph.nodes else []
    return not all(isinstance(writer, ChannelWrite) for writer in writers)


def _config(location: Json, checkpoint_id: str | None) -> Any:  # noqa: ANN401  a RunnableConfig
    return {"configurable": location | ({"checkpoint_id": checkpoint_id} if checkpoint_id else {})}


def _parent_id(state: Json) -> str | None:
    return (state.get("parent_checkpoint") or {}).get("checkpoint_id")


def _next(graph: Pregel[Any, Any, Any, Any], base: _Known, state: Json, saver: InMemorySaver) -> _Known:
    """Return the channels of a state: those that differ from its parent's get a new version."""
    values = state["values"] if isinstance(state["values"], dict) else {str(graph.output_channels): state["values"]}
    # A version that no other checkpoint of the thread has, even in another branch.
    version = saver.get_next_version(max(base.versions.values(), default=None), None)
    current = _Known(values, state["tasks"], versions=dict(base.versions))
    for name, value in values.items():
        if name not in graph.channels:
            continue
        if name in base.objects and base.values.get(name) == value:
            current.objects[name] = base.objects[name]
        else:
            current.objects[name] = _object(graph.channels[name], value)
            current.versions[name] = version
    for name, value in (_joins(graph, base, state) | _triggers(graph, state)).items():
        current.objects[name] = value
        current.versions[name] = version
    for name in base.objects.keys() - current.objects.keys():  # consumed
        current.versions[name] = version
    return current


def _joins(graph: Pregel[Any, Any, Any, Any], base: _Known, state: Json) -> Json:
    """Return the channels of edges that wait for several nodes, with the nodes that have ended so far."""
    joins = {name: value for name, value in base.objects.items() if name.startswith(_JOIN)}
    for task in base.tasks:
        for name, value in _fixed_writes(graph, task["name"]):
            if name.startswith(_JOIN):
                channel: Any = graph.channels[name]
                waiting = channel.from_checkpoint(joins.get(name, _missing()))
                waiting.update([value])
                joins[name] = waiting.checkpoint()
    started = {trigger for name in state["next"] if name in graph.nodes for trigger in graph.nodes[name].triggers}
    return {name: value for name, value in joins.items() if name not in started}


def _fixed_writes(graph: Pregel[Any, Any, Any, Any], node: str) -> list[tuple[str, Any]]:
    """Return the writes of a node to its unconditional edges."""
    writers = graph.nodes[node].writers if node in graph.nodes else []
    entries = [entry for writer in writers if isinstance(writer, ChannelWrite) for entry in writer.writes]
    return [
        (entry.channel, entry.value)
        for entry in entries
        if isinstance(entry, ChannelWriteEntry) and entry.channel.startswith((_JOIN, _BRANCH))
    ]


def _triggers(graph: Pregel[Any, Any, Any, Any], state: Json) -> Json:
    """Return the values of the channels that start the next nodes."""
    pushed = [Send(task["name"], None) for task in state["tasks"] if _is_push(task)]
    triggers: Json = {_TASKS: pushed} if pushed else {}
    pulled = {task["name"]: task for task in state["tasks"] if not _is_push(task)}
    for name in [*state["next"], *pulled]:
        if name in graph.nodes and name not in {send.node for send in pushed}:
            result = pulled.get(name, {}).get("result")
            triggers[_trigger(graph, name)] = result if name == _START or _trigger(graph, name) == _START else None
    return triggers


def _trigger(graph: Pregel[Any, Any, Any, Any], node: str) -> str:
    triggers = list(graph.nodes[node].triggers)
    own = f"{_BRANCH}{node}"
    return own if own in triggers else triggers[0]


def _is_push(task: Mapping[str, Any]) -> bool:
    return bool(task.get("path")) and task["path"][0] == _PUSH


def _checkpoint(graph: Pregel[Any, Any, Any, Any], state: Json, current: _Known) -> Checkpoint:
    waiting = {_trigger(graph, name) for name in state["next"] if name in graph.nodes}
    seen: dict[str, dict[str, str | int | float]] = {
        name: {
            trigger: current.versions[trigger]
            for trigger in node.triggers
            if trigger in current.versions and not (trigger in waiting and name in state["next"])
        }
        for name, node in graph.nodes.items()
    }
    return Checkpoint(
        v=_FORMAT,
        id=state["checkpoint"]["checkpoint_id"],
        ts=state["created_at"],
        channel_values=current.objects,
        channel_versions=dict(current.versions),
        versions_seen={name: versions for name, versions in seen.items() if versions},
        updated_channels=None,
    )


def _pending_writes(
    graph: Pregel[Any, Any, Any, Any], state: Json, snapshot: StateSnapshot
) -> dict[str, list[tuple[str, Any]]]:
    """Return the writes, errors and interrupts of a state's tasks, by the ids that the tasks have here."""
    tasks = list(snapshot.tasks)
    writes: dict[str, list[tuple[str, Any]]] = {}
    for source in state["tasks"]:
        task = next((task for task in tasks if task.name == source["name"]), None)
        if task is None:
            continue
        tasks.remove(task)
        interrupts = [Interrupt(value=interrupt["value"], id=interrupt["id"]) for interrupt in source["interrupts"]]
        found: list[tuple[str, Any]] = [(_INTERRUPT, interrupts)] if interrupts else []
        if source.get("error"):
            found.append((_ERROR, source["error"]))
        elif source.get("result") is not None:
            found += _results(graph, source["result"])
            found += _fixed_writes(graph, task.name)
        if found:
            writes[task.id] = found
    return writes


def _results(graph: Pregel[Any, Any, Any, Any], result: object) -> list[tuple[str, Any]]:
    if not isinstance(result, dict):
        return [(str(graph.output_channels), result)]
    writes = [
        (name, _written(graph.channels[name], written))
        for name, value in result.items()
        if isinstance(graph.channels.get(name), BaseChannel)
        for written in (value["$writes"] if isinstance(value, dict) and set(value) == {"$writes"} else [value])
    ]
    return writes or [(_NO_WRITES, None)]


def _written(channel: Any, value: object) -> object:  # noqa: ANN401  any channel
    """Return a write with its messages as objects, if the channel keeps it as it is."""
    made = _object(channel, value)
    return made if json.loads(dumps(made)) == value else value


def _object(channel: Any, value: object) -> object:  # noqa: ANN401  any channel
    """Return the object that a channel had for a value of the API: made by its reducer, or by its type."""
    if not isinstance(channel, BaseChannel):
        return value
    made: list[Any] = []
    try:
        empty = channel.from_checkpoint(_missing())
        empty.update([value])
        made.append(empty.checkpoint())
    except Exception:  # noqa: BLE001  a reducer may raise anything
        made.clear()
    with contextlib.suppress(Exception):  # a type may be anything
        made.append(_adapter(channel.ValueType).validate_python(value))
    for candidate in made:
        if json.loads(dumps(candidate)) == value and candidate != value:
            return candidate
    lists = [candidate for candidate in made if isinstance(candidate, list)]
    messages = [items for items in lists if any(isinstance(item, BaseMessage) for item in items)]
    return messages[0] if messages else value


def _adapter(value_type: Any) -> TypeAdapter[Any]:  # noqa: ANN401  any type of a channel
    try:
        return _cached_adapter(value_type)
    except TypeError:  # the type cannot be hashed
        return TypeAdapter(value_type)


_cached_adapter = functools.lru_cache(maxsize=256)(TypeAdapter)  # most time of an import without the cache


def _missing() -> object:
    from langgraph._internal._typing import MISSING  # noqa: PLC0415  LangGraph's mark of an empty channel

    return MISSING


def _equal(ours: Json, theirs: Json) -> bool:
    shown = json.loads(dumps(ours))
    return all(shown.get(name) == _normalized(theirs, name) for name in _COMPARED)


def _normalized(state: Json, name: str) -> object:
    match name:
        case "checkpoint_id":
            return state["checkpoint"]["checkpoint_id"]
        case "parent_checkpoint_id":
            return _parent_id(state)
        case "interrupts":
            return state.get("interrupts") or [interrupt for task in state["tasks"] for interrupt in task["interrupts"]]
    return state.get(name)
