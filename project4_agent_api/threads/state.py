"""The state of a thread as LangGraph's clients know it: made from what LangGraph says of a checkpoint."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.types import Interrupt, StateSnapshot
from loguru import logger

from shared.errors import Conflict, ServiceError

_UNREADABLE = (
    "The stored state does not fit its graph. Delete the run that left it, or go on from an earlier checkpoint."
)


@contextmanager
def reading_states() -> Iterator[None]:
    """Say in our words that a graph cannot read a state: LangGraph stores one before the graph's schema looks at it.

    Raises:
        Conflict: in place of whatever the graph raises. What the database says stays what it is.
    """
    try:
        yield
    except (ServiceError, psycopg.Error):
        raise
    except Exception as error:
        logger.opt(exception=error).info("a state cannot be read: {}", type(error).__name__)
        raise Conflict(_UNREADABLE) from error


def checkpoint_of(config: RunnableConfig | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return by what a client names the checkpoint of a configuration; None if it has none."""
    configurable = (config or {}).get("configurable") or {}
    if not configurable.get("thread_id") or not configurable.get("checkpoint_id"):
        return None
    names = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")
    return {name: configurable[name] or "" for name in names if name in configurable}


def interrupt_of(interrupt: Interrupt) -> dict[str, Any]:
    """Return a question that a graph asks its user."""
    shown = {"id": interrupt.id, "value": interrupt.value}
    schema = getattr(interrupt, "response_schema", None)
    return shown if schema is None else shown | {"response_schema": schema}


def thread_state_of(state: StateSnapshot) -> dict[str, Any]:
    """Return a thread's state at a checkpoint."""
    checkpoint, parent = checkpoint_of(state.config), checkpoint_of(state.parent_config)
    return {
        "values": state.values,
        "next": state.next,
        "tasks": [
            {
                "id": task.id,
                "name": task.name,
                "path": task.path,
                "error": repr(task.error) if isinstance(task.error, BaseException) else task.error,
                "interrupts": [interrupt_of(one) for one in task.interrupts],
                "checkpoint": None
                if task.state is None or isinstance(task.state, StateSnapshot)
                else task.state["configurable"],
                "state": thread_state_of(task.state) if isinstance(task.state, StateSnapshot) else None,
                "result": task.result,
            }
            for task in state.tasks
        ],
        "metadata": state.metadata,
        "created_at": state.created_at,
        "checkpoint": checkpoint,
        "parent_checkpoint": parent,
        "interrupts": [interrupt_of(one) for one in state.interrupts],
        "checkpoint_id": checkpoint and checkpoint["checkpoint_id"],
        "parent_checkpoint_id": parent and parent["checkpoint_id"],
    }


def interrupts_of(state: StateSnapshot) -> dict[str, list[dict[str, Any]]]:
    """Return the questions that wait for an answer, by the task that asks."""
    return {task.id: [interrupt_of(one) for one in task.interrupts] for task in state.tasks if task.interrupts}
