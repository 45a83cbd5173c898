"""Convert LangGraph's state snapshots to the states of LangGraph's API."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.types import Interrupt, StateSnapshot
from loguru import logger

from shared.errors import Conflict, ServiceError

_UNREADABLE = (
    "The stored state does not fit its graph. Delete the run that stored it, or continue from an earlier checkpoint."
)


@contextmanager
def state_errors() -> Iterator[None]:
    """Translate a graph's error on reading a state: LangGraph stores states before the graph's schema validates them.

    Raises:
        Conflict: instead of the graph's exception. Errors of the database and the service pass through.
    """
    try:
        yield
    except (ServiceError, psycopg.Error):
        raise
    except Exception as error:
        logger.opt(exception=error).info("a state cannot be read: {}", type(error).__name__)
        raise Conflict(_UNREADABLE) from error


def to_checkpoint(config: RunnableConfig | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the checkpoint of a config, or None if it has none."""
    configurable = (config or {}).get("configurable") or {}
    if not configurable.get("thread_id") or not configurable.get("checkpoint_id"):
        return None
    names = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")
    return {name: configurable[name] or "" for name in names if name in configurable}


def to_interrupt(interrupt: Interrupt) -> dict[str, Any]:
    """Return an interrupt: a question of a graph to its user."""
    fields = {"id": interrupt.id, "value": interrupt.value}
    schema = getattr(interrupt, "response_schema", None)
    return fields if schema is None else fields | {"response_schema": schema}


def to_thread_state(snapshot: StateSnapshot) -> dict[str, Any]:
    """Return a thread's state at a checkpoint, with the states of subgraphs if the snapshot has them."""
    checkpoint, parent = to_checkpoint(snapshot.config), to_checkpoint(snapshot.parent_config)
    return {
        "values": snapshot.values,
        "next": snapshot.next,
        "tasks": [
            {
                "id": task.id,
                "name": task.name,
                "path": task.path,
                "error": repr(task.error) if isinstance(task.error, BaseException) else task.error,
                "interrupts": [to_interrupt(interrupt) for interrupt in task.interrupts],
                "checkpoint": None
                if task.state is None or isinstance(task.state, StateSnapshot)
                else task.state["configurable"],
                "state": to_thread_state(task.state) if isinstance(task.state, StateSnapshot) else None,
                "result": task.result,
            }
            for task in snapshot.tasks
        ],
        "metadata": snapshot.metadata,
        "created_at": snapshot.created_at,
        "checkpoint": checkpoint,
        "parent_checkpoint": parent,
        "interrupts": [to_interrupt(interrupt) for interrupt in snapshot.interrupts],
        "checkpoint_id": checkpoint and checkpoint["checkpoint_id"],
        "parent_checkpoint_id": parent and parent["checkpoint_id"],
    }


# The state of a thread without a graph.
EMPTY_STATE: dict[str, Any] = {
    "values": {},
    "next": [],
    "tasks": [],
    "metadata": None,
    "created_at": None,
    "checkpoint": None,
    "parent_checkpoint": None,
    "interrupts": [],
    "checkpoint_id": None,
    "parent_checkpoint_id": None,
}


def pending_interrupts(snapshot: StateSnapshot) -> dict[str, list[dict[str, Any]]]:
    """Return the interrupts that wait for an answer, by task."""
    return {
        task.id: [to_interrupt(interrupt) for interrupt in task.interrupts]
        for task in snapshot.tasks
        if task.interrupts
    }
