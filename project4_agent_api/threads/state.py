"""The states of threads: read one or their history, update them, and copy the newest to the thread's row."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import psycopg
from langchain_core.runnables import RunnableConfig
from langgraph.errors import InvalidUpdateError
from langgraph.types import StateSnapshot, StateUpdate
from loguru import logger

from project4_agent_api.core.bounded import MAX_BYTES, Page
from project4_agent_api.core.postgres import Pool, Row, connected
from project4_agent_api.core.schemas import Checkpoint
from project4_agent_api.core.serialization import dumps
from project4_agent_api.core.storage import UNLIMITED, StorageQuota
from project4_agent_api.events.ids import thread_channel
from project4_agent_api.graphs.checkpointer.saver import CheckpointSaver
from project4_agent_api.graphs.commands import to_command
from project4_agent_api.graphs.registry import Graph, Graphs
from project4_agent_api.store.service import SharedStore
from project4_agent_api.threads import repository, schemas
from project4_agent_api.threads.schemas import HistoryQuery, StateChange, Superstep
from project4_agent_api.threads.snapshots import EMPTY_STATE, state_errors, to_thread_state
from shared.errors import Conflict, InvalidRequest, ServiceError
from shared.redis.client import REDIS_UNAVAILABLE, RedisClient

_FIRST_STATES, _MAX_STATES = 4, 100  # that a history reads at once
STATE_CHANGED = b"state"  # published on a thread's channel after an update that is not a run's


@dataclass(frozen=True)
class ThreadStates:
    """The states of threads, read and updated through their graphs."""

    pool: Pool
    checkpoints: CheckpointSaver
    graphs: Graphs
    store: SharedStore
    redis: RedisClient
    quota: StorageQuota = UNLIMITED

    async def get(
        self, owner_id: UUID, thread_id: UUID, checkpoint: Checkpoint | None = None, *, subgraphs: bool = False
    ) -> dict[str, Any]:
        """Return a thread's newest state, or its state at a checkpoint.

        Raises:
            NotFound: if the thread or its graph does not exist.
            Conflict: if the graph cannot read the state.
        """
        row = await repository.get_thread(self.pool, owner_id, thread_id)
        if "graph_id" not in row["metadata"]:
            return EMPTY_STATE
        async with self._open_graph(owner_id, row) as graph:
            with state_errors():
                snapshot = await graph.aget_state(_config(thread_id, checkpoint), subgraphs=subgraphs)
        return to_thread_state(snapshot)

    async def list_history(self, owner_id: UUID, thread_id: UUID, query: HistoryQuery) -> Page[dict[str, Any]]:
        """Return a thread's states, newest first, as many as an answer may contain. They are read a few at a time.

        Raises:
            NotFound: if the thread or its graph does not exist.
            Conflict: if the graph cannot read one of the states.
        """
        row = await repository.get_thread(self.pool, owner_id, thread_id)
        if "graph_id" not in row["metadata"]:
            return Page()
        checkpoint = Checkpoint(checkpoint_id=query.before) if isinstance(query.before, str) else query.before
        before = _config(thread_id, checkpoint) if checkpoint else None
        page: Page[dict[str, Any]] = Page()
        limit, step = query.limit or 10, _FIRST_STATES
        async with self._open_graph(owner_id, row) as graph:
            while len(page) < limit and not page.cut:
                amount = min(step, limit - len(page))
                history = graph.aget_state_history(
                    _config(thread_id, query.checkpoint), filter=query.metadata, before=before, limit=amount
                )
                with state_errors():
                    snapshots = [snapshot async for snapshot in history]
                for snapshot in snapshots:
                    state = to_thread_state(snapshot)
                    if not page.add(state, len(dumps(state["values"])), MAX_BYTES):
                        break
                    await asyncio.sleep(0)  # the encoding of a large state takes a while
                if len(snapshots) < amount:
                    break
                before = snapshots[-1].config
                # As many as fill the rest of the page, if they are as large as those before.
                step = max(1, min(_MAX_STATES, (MAX_BYTES - page.size) * len(page) // max(1, page.size)))
        return page

    async def update(self, owner_id: UUID, thread_id: UUID, change: StateChange) -> RunnableConfig:
        """Update a thread's state as if a node had written it. An update that the graph could not read is not stored.

        Returns:
            LangGraph's config of the new checkpoint.

        Raises:
            NotFound: if the thread or its graph does not exist.
            Conflict: if the thread has an unfinished run.
            StorageQuotaExceeded: if the owner stores too much.
            InvalidRequest: if the thread has no graph yet, or the graph does not accept the values.
        """
        row = await repository.get_thread(self.pool, owner_id, thread_id)
        if "graph_id" not in row["metadata"]:
            raise InvalidRequest("The thread has no graph yet: start a run on it, or create it with `graph_id`.")
        checkpoint = change.checkpoint or Checkpoint(checkpoint_id=change.checkpoint_id)
        async with (
            self._open_graph(owner_id, row) as graph,
            connected(self.pool) as connection,
            connection.transaction(),
        ):
            await repository.lock_idle_thread(connection, thread_id)
            await self.quota.require(connection, owner_id)
            graph.checkpointer = self.checkpoints.in_transaction(connection)
            with _update_errors():
                updated = await graph.aupdate_state(
                    _config(thread_id, checkpoint, row["metadata"]), change.values, as_node=change.as_node
                )
                await graph.aget_state(updated)
        await self.refresh(owner_id, thread_id)
        with contextlib.suppress(*REDIS_UNAVAILABLE):
            await self.redis.publish(self.redis.key(thread_channel(thread_id)), STATE_CHANGED)
        return updated

    async def store_history(self, owner_id: UUID, row: Row, supersteps: Sequence[Superstep]) -> None:
        """Store the history of a new thread, one checkpoint for each step.

        Raises:
            NotFound: if the thread's graph does not exist.
            InvalidRequest: if the graph does not accept the values.
        """
        steps = [[_to_state_update(update) for update in step.updates] for step in supersteps]
        async with self._open_graph(owner_id, row) as graph:
            with _update_errors():
                updated = await graph.abulk_update_state(_config(row["thread_id"]), steps)
                await graph.aget_state(updated)

    async def refresh(self, owner_id: UUID, thread_id: UUID) -> None:
        """Copy the newest state to the thread's row; an empty one if the graph cannot read it."""
        row = await repository.get_thread(self.pool, owner_id, thread_id)
        snapshot: StateSnapshot | None = None
        async with self._open_graph(owner_id, row) as graph:
            with contextlib.suppress(Conflict), state_errors():
                snapshot = await graph.aget_state(_config(thread_id))
        await repository.store_state(self.pool, thread_id, snapshot)

    async def prune(self, thread_ids: Sequence[UUID]) -> None:
        """Delete all checkpoints of threads but the newest.

        Raises:
            InvalidRequest: if the states of one of them build on earlier ones.
        """
        try:
            await self.checkpoints.aprune([str(thread_id) for thread_id in thread_ids], strategy="keep_latest")
        except NotImplementedError:
            raise InvalidRequest("The graph of one of these threads needs the earlier checkpoints.") from None

    def _open_graph(self, owner_id: UUID, row: Row) -> AbstractAsyncContextManager[Graph]:
        value = row["metadata"].get("graph_id")
        graph_id = value if isinstance(value, str) else ""  # a client may store any JSON there
        return self.graphs.open(
            graph_id,
            {"configurable": {"graph_id": graph_id}},
            checkpointer=self.checkpoints,
            store=self.store.for_owner(owner_id),
            access_context="threads.read",
        )


def _config(
    thread_id: UUID, checkpoint: Checkpoint | None = None, metadata: dict[str, Any] | None = None
) -> RunnableConfig:
    location = {"thread_id": str(thread_id), "checkpoint_ns": ""}
    return {
        "configurable": location | (checkpoint.configurable(thread_id) if checkpoint else {}),
        "metadata": metadata or {},
    }


# The database's errors that an update's values cause.
_VALUE_ERRORS = (psycopg.DataError, psycopg.errors.ProgramLimitExceeded)


@contextmanager
def _update_errors() -> Iterator[None]:
    """Translate a graph's error on an update.

    Raises:
        InvalidRequest: instead of any exception of the graph, which the values caused. Errors of the service pass
            through, and those of the database unless the values caused them.
    """
    try:
        yield
    except ServiceError:
        raise
    except InvalidUpdateError as error:
        raise InvalidRequest(f"The graph does not accept this update: {str(error).splitlines()[0][:300]}") from error
    except Exception as error:
        if isinstance(error, psycopg.Error) and not isinstance(error, _VALUE_ERRORS):
            raise
        logger.opt(exception=error).info("a graph refused an update of its state: {}", type(error).__name__)
        raise InvalidRequest("The graph does not accept these values.") from error


def _to_state_update(update: schemas.StateUpdate) -> StateUpdate:
    if update.command:
        values: object = to_command(update.command.model_dump(exclude_none=True))
    else:
        values = update.values
    return StateUpdate(cast("Any", values), update.as_node)  # LangGraph accepts more than its types say
