"""Threads in the database, and their states: the work behind the routes, without HTTP."""

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, cast
from uuid import UUID

import psycopg
from fastapi import Depends, Request
from langchain_core.runnables import RunnableConfig
from langgraph.errors import InvalidUpdateError
from langgraph.types import StateSnapshot, StateUpdate
from loguru import logger
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from project4_agent_api.core.postgres import Connection, Pool, Row, connected
from project4_agent_api.core.serialization import dumps
from project4_agent_api.events import wakeups
from project4_agent_api.events.events import LAST_ATTEMPT, announce_end, thread_of
from project4_agent_api.graphs.checkpointer import Checkpoints
from project4_agent_api.graphs.registry import Graph, Graphs
from project4_agent_api.models import ThreadStatus
from project4_agent_api.runs import repository as queue
from project4_agent_api.runs.execution import command_of
from project4_agent_api.runs.repository import NO_SUCH_THREAD
from project4_agent_api.runs.schemas import Checkpoint
from project4_agent_api.store.service import SharedStore
from project4_agent_api.threads import schemas
from project4_agent_api.threads.schemas import (
    HistoryQuery,
    StateChange,
    Superstep,
    ThreadCreate,
    ThreadFilter,
    ThreadPatch,
    ThreadSearch,
    Ttl,
)
from project4_agent_api.threads.state import interrupts_of, reading_states, thread_state_of
from shared.errors import Conflict, InvalidRequest, NotFound, ServiceError
from shared.redis.client import REDIS_AWAY, Client

STATE_CHANGED = b"state"  # said on a thread's channel when its state was changed from outside a run
SHOWN = (
    "thread_id, created_at, updated_at, state_updated_at, metadata, config, status, values, interrupts, error,"
    " ttl_strategy, ttl_minutes, expires_at"
)
_NO_STATE: dict[str, Any] = {
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


@dataclass(frozen=True)
class Threads:
    """The threads of a service.

    Attributes:
        pool: Of the database.
        checkpoints: Where their states are.
        graphs: What reads and writes these.
        store: Given to graphs.
        redis: For what is said.
        kept_seconds: How long the events of a run that is over are kept.
    """

    pool: Pool
    checkpoints: Checkpoints
    graphs: Graphs
    store: SharedStore
    redis: Client
    kept_seconds: int

    async def create(self, owner_id: UUID, body: ThreadCreate) -> Row:
        """Store a thread; or find the one that has the id, where that is wanted.

        Raises:
            Conflict: if the id is taken.
            NotFound: if the history is for a graph that is not there.
            InvalidRequest: if the history is none for its graph.
        """
        thread_id = body.thread_id or uuid7()
        ttl = _ttl(body.ttl)
        async with connected(self.pool) as connection:
            cursor = await connection.execute(
                f"""
                INSERT INTO threads (
                    thread_id, owner_id, status, metadata, config, interrupts, ttl_strategy, ttl_minutes, expires_at,
                    created_at, updated_at, state_updated_at
                ) VALUES (
                    %(thread)s, %(owner)s, 'idle', %(metadata)s, '{{}}', '{{}}', %(strategy)s, %(minutes)s,
                    now() + make_interval(secs => %(minutes)s::float8 * 60), now(), now(), now()
                )
                ON CONFLICT DO NOTHING RETURNING {SHOWN}
                """,  # noqa: S608  no value in it
                {"thread": thread_id, "owner": owner_id, "metadata": Jsonb(body.metadata or {}), **ttl},
            )
            row = await cursor.fetchone()
        if row is not None:
            return await self._with_history(owner_id, row, body.supersteps) if body.supersteps else row
        if body.if_exists == "do_nothing":
            try:
                return await self.get(owner_id, thread_id)
            except NotFound:
                pass  # it is somebody else's: the id is taken, and that is all there is to say
        raise Conflict("There is a thread with this id already.")

    async def _with_history(self, owner_id: UUID, row: Row, supersteps: Sequence[Superstep]) -> Row:
        steps = [[_state_update(update) for update in step.updates] for step in supersteps]
        try:
            async with self._graph_of(owner_id, row) as graph:
                with _refused_updates():
                    changed = await graph.abulk_update_state(self._config(row["thread_id"]), steps)
                    await graph.aget_state(changed)
        except Exception:
            await self.delete(owner_id, row["thread_id"])
            raise
        await self.refresh(owner_id, row["thread_id"])
        return await self.get(owner_id, row["thread_id"])

    async def get(self, owner_id: UUID, thread_id: UUID) -> Row:
        """Return a thread.

        Raises:
            NotFound: if there is none.
        """
        async with connected(self.pool) as connection:
            cursor = await connection.execute(
                f"SELECT {SHOWN} FROM threads WHERE thread_id = %s AND owner_id = %s",  # noqa: S608  no value in it
                [thread_id, owner_id],
            )
            row = await cursor.fetchone()
        if row is None:
            raise NotFound(NO_SUCH_THREAD)
        return row

    async def update(self, owner_id: UUID, thread_id: UUID, body: ThreadPatch) -> Row:
        """Change a thread.

        Raises:
            NotFound: if there is none.
        """
        async with connected(self.pool) as connection:
            cursor = await connection.execute(
                f"""
                UPDATE threads SET metadata = metadata || %(metadata)s, updated_at = now(),
                    ttl_strategy = coalesce(%(strategy)s, ttl_strategy),
                    ttl_minutes = coalesce(%(minutes)s, ttl_minutes),
                    expires_at = now() + make_interval(secs => coalesce(%(minutes)s, ttl_minutes) * 60)
                WHERE thread_id = %(thread)s AND owner_id = %(owner)s RETURNING {SHOWN}
                """,  # noqa: S608  no value in it
                {"thread": thread_id, "owner": owner_id, "metadata": Jsonb(body.metadata or {}), **_ttl(body.ttl)},
            )
            row = await cursor.fetchone()
        if row is None:
            raise NotFound(NO_SUCH_THREAD)
        return row

    async def delete(self, owner_id: UUID, thread_id: UUID) -> None:
        """Delete a thread with its runs and checkpoints.

        Raises:
            NotFound: if there is none.
        """
        async with connected(self.pool) as connection:
            await queue.require_thread(connection, owner_id, thread_id)
            await self._delete(connection, [thread_id])

    async def delete_of(self, owner_id: UUID, assistant_id: UUID) -> None:
        """Delete the threads on which an assistant ran last, a few at a time: what is gone before an error stays so."""
        async with connected(self.pool) as connection:
            cursor = await connection.execute(
                "SELECT thread_id FROM threads WHERE owner_id = %s AND metadata @> %s",
                [owner_id, Jsonb({"assistant_id": str(assistant_id)})],
            )
            await self._delete(connection, [row["thread_id"] for row in await cursor.fetchall()])

    async def delete_some(self, owner_id: UUID, limit: int) -> int:
        """Delete some of an owner's threads. Returns how many were found."""
        async with connected(self.pool) as connection:
            cursor = await connection.execute(
                "SELECT thread_id FROM threads WHERE owner_id = %s LIMIT %s", [owner_id, limit]
            )
            some = [row["thread_id"] for row in await cursor.fetchall()]
            await self._delete(connection, some)
        return len(some)

    async def _delete(self, connection: Connection, thread_ids: Sequence[UUID]) -> int:
        batches = queue.in_small_batches(thread_ids, partial(self._delete_together, connection))
        return sum([gone async for gone in batches])

    async def _delete_together(self, connection: Connection, thread_ids: Sequence[UUID]) -> int:
        """Delete threads, and tell whoever executes or follows a run of theirs that it is over."""
        async with connection.transaction():
            # The runs before the threads, as whoever ends a run: the other way round each would wait for the other.
            cursor = await connection.execute(
                """
                SELECT run_id, thread_id FROM runs WHERE thread_id = ANY(%s) AND status IN ('pending', 'running')
                ORDER BY run_id FOR UPDATE
                """,
                [list(thread_ids)],
            )
            unfinished = await cursor.fetchall()
            deleted = await queue.delete_threads(connection, thread_ids)
        for run in unfinished:
            await wakeups.say_stop(self.redis, run["run_id"], "interrupt")
            end = b"deleted\n{}"
            await announce_end(self.redis, run["thread_id"], run["run_id"], LAST_ATTEMPT, end, self.kept_seconds)
        return deleted

    async def search(self, owner_id: UUID, search: ThreadSearch) -> list[Row]:
        """Return threads, and one more than the page has where there are more."""
        where, parameters = _condition(owner_id, search)
        if search.ids is not None:
            where += " AND thread_id = ANY(%(ids)s)"
            parameters["ids"] = search.ids
        limit, offset = search.page()
        direction = "ASC" if search.sort_order == "asc" else "DESC"
        async with connected(self.pool) as connection:
            cursor = await connection.execute(
                f"""
                SELECT {SHOWN} FROM threads WHERE {where}
                ORDER BY {search.sort_by or "created_at"} {direction}, thread_id {direction}
                LIMIT %(limit)s OFFSET %(offset)s
                """,  # noqa: S608  no value in it: what is sorted by is one of a few names
                parameters | {"limit": limit + 1, "offset": offset},
            )
            return await cursor.fetchall()

    async def count(self, owner_id: UUID, which: ThreadFilter) -> int:
        """Count threads."""
        where, parameters = _condition(owner_id, which)
        async with connected(self.pool) as connection:
            cursor = await connection.execute(f"SELECT count(*) FROM threads WHERE {where}", parameters)  # noqa: S608
            row = await cursor.fetchone()
        return row["count"] if row else 0

    async def copy(self, owner_id: UUID, thread_id: UUID) -> Row:
        """Make another thread with the same history.

        Raises:
            NotFound: if there is no such thread.
        """
        new = uuid7()
        parameters = {"old": thread_id, "new": new, "owner": owner_id}
        async with connected(self.pool) as connection, connection.transaction():
            cursor = await connection.execute(
                f"""
                INSERT INTO threads (
                    thread_id, owner_id, status, metadata, config, values, interrupts, error, ttl_strategy, ttl_minutes,
                    expires_at, created_at, updated_at, state_updated_at
                )
                SELECT %(new)s, owner_id, CASE WHEN status = 'busy' THEN 'idle' ELSE status END, metadata, config,
                    values, interrupts, error, ttl_strategy, ttl_minutes,
                    now() + make_interval(secs => ttl_minutes * 60), now(), now(), now()
                FROM threads WHERE thread_id = %(old)s AND owner_id = %(owner)s
                RETURNING {SHOWN}
                """,  # noqa: S608  no value in it
                parameters,
            )
            row = await cursor.fetchone()
            if row is None:
                raise NotFound(NO_SUCH_THREAD)
            for table, columns in _CHECKPOINT_COLUMNS.items():
                await connection.execute(
                    f"INSERT INTO {table} (thread_id, {columns})"  # noqa: S608  no value in it
                    f" SELECT %(new)s::uuid::text, {columns} FROM {table} WHERE thread_id = %(old)s::uuid::text",
                    parameters,
                )
        return row

    async def prune(self, owner_id: UUID, thread_ids: Sequence[UUID], strategy: str) -> int:
        """Delete threads, a few at a time, or all of their checkpoints but the newest.

        Returns:
            How many of them are the owner's: the others are left alone.
        """
        async with connected(self.pool) as connection:
            cursor = await connection.execute(
                "SELECT thread_id FROM threads WHERE owner_id = %s AND thread_id = ANY(%s)",
                [owner_id, list(thread_ids)],
            )
            own = [row["thread_id"] for row in await cursor.fetchall()]
            if strategy == "delete":
                return await self._delete(connection, own)
        try:
            await self.checkpoints.aprune([str(one) for one in own], strategy="keep_latest")
        except NotImplementedError:
            raise InvalidRequest("One of these threads is of a graph whose states build on earlier ones.") from None
        return len(own)

    # --- states -------------------------------------------------------------------------------------------------

    async def state(
        self, owner_id: UUID, thread_id: UUID, checkpoint: Checkpoint | None = None, *, subgraphs: bool = False
    ) -> dict[str, Any]:
        """Return a thread's state, now or at a checkpoint.

        Raises:
            NotFound: if there is no such thread, or its graph is not here any more.
            Conflict: if its graph cannot read the state.
        """
        row = await self.get(owner_id, thread_id)
        if "graph_id" not in row["metadata"]:
            return _NO_STATE
        async with self._graph_of(owner_id, row) as graph:
            with reading_states():
                state = await graph.aget_state(self._config(thread_id, checkpoint), subgraphs=subgraphs)
        return thread_state_of(state)

    async def history(self, owner_id: UUID, thread_id: UUID, query: HistoryQuery) -> list[dict[str, Any]]:
        """Return a thread's states, the newest first.

        Raises:
            NotFound: if there is no such thread, or its graph is not here any more.
            Conflict: if its graph cannot read one of them.
        """
        row = await self.get(owner_id, thread_id)
        if "graph_id" not in row["metadata"]:
            return []
        before = query.before
        if isinstance(before, str):
            before = Checkpoint(checkpoint_id=before)
        async with self._graph_of(owner_id, row) as graph:
            states = graph.aget_state_history(
                self._config(thread_id, query.checkpoint),
                filter=query.metadata,
                before=self._config(thread_id, before) if before else None,
                limit=query.limit or 10,
            )
            with reading_states():
                found = [state async for state in states]
        return [thread_state_of(state) for state in found]

    async def change_state(self, owner_id: UUID, thread_id: UUID, change: StateChange) -> RunnableConfig:
        """Write into a thread's state, as if a node had. What its graph could not read afterwards is not stored.

        Returns:
            LangGraph's configuration of the new checkpoint.

        Raises:
            NotFound: if there is no such thread, or its graph is not here any more.
            Conflict: if it has a run that is not over.
            InvalidRequest: if it has no graph yet, or that takes no such values.
        """
        row = await self.get(owner_id, thread_id)
        if "graph_id" not in row["metadata"]:
            raise InvalidRequest("The thread has no graph yet: begin a run on it, or make it with `graph_id`.")
        checkpoint = change.checkpoint or Checkpoint(checkpoint_id=change.checkpoint_id)
        async with (
            self._graph_of(owner_id, row) as graph,
            connected(self.pool) as connection,
            connection.transaction(),
        ):
            await _hold_unused(connection, thread_id)
            graph.checkpointer = self.checkpoints.within(connection)
            with _refused_updates():
                changed = await graph.aupdate_state(
                    self._config(thread_id, checkpoint, row["metadata"]), change.values, as_node=change.as_node
                )
                await graph.aget_state(changed)
        await self.refresh(owner_id, thread_id)
        with contextlib.suppress(*REDIS_AWAY):
            await self.redis.publish(self.redis.key(thread_of(thread_id)), STATE_CHANGED)
        return changed

    async def refresh(self, owner_id: UUID, thread_id: UUID) -> None:
        """Copy what its newest checkpoint says into a thread's row: nothing, where its graph cannot read that."""
        row = await self.get(owner_id, thread_id)
        state: StateSnapshot | None = None
        async with self._graph_of(owner_id, row) as graph:
            with contextlib.suppress(Conflict), reading_states():
                state = await graph.aget_state(self._config(thread_id))
        async with connected(self.pool) as connection:
            await _show(connection, thread_id, state)

    def _graph_of(self, owner_id: UUID, row: Row) -> AbstractAsyncContextManager[Graph]:
        named = row["metadata"].get("graph_id")
        name = named if isinstance(named, str) else ""  # a client may write anything there
        return self.graphs.open(
            name,
            {"configurable": {"graph_id": name}},
            checkpointer=self.checkpoints,
            store=self.store.of(owner_id),
            access_context="threads.read",
        )

    def _config(
        self, thread_id: UUID, checkpoint: Checkpoint | None = None, metadata: dict[str, Any] | None = None
    ) -> RunnableConfig:
        place = {"thread_id": str(thread_id), "checkpoint_ns": ""}
        return {
            "configurable": place | (checkpoint.configurable(thread_id) if checkpoint else {}),
            "metadata": metadata or {},
        }


_CHECKPOINT_COLUMNS = {
    "checkpoints": "checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata",
    "checkpoint_blobs": "checkpoint_ns, channel, version, type, blob",
    "checkpoint_writes": "checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob, task_path",
}


_OF_VALUES = (psycopg.DataError, psycopg.errors.ProgramLimitExceeded)


@contextmanager
def _refused_updates() -> Iterator[None]:
    """Say in our words that a graph takes no such values.

    Raises:
        InvalidRequest: in place of whatever it raises, which is what the values were to it. What the database says
            stays what it is, unless it is of the values.
    """
    try:
        yield
    except ServiceError:
        raise
    except InvalidUpdateError as error:
        raise InvalidRequest(f"The graph does not take this: {str(error).splitlines()[0][:300]}") from error
    except Exception as error:
        if isinstance(error, psycopg.Error) and not isinstance(error, _OF_VALUES):
            raise
        logger.opt(exception=error).info("a state was not taken: {}", type(error).__name__)
        raise InvalidRequest("The graph does not take these values.") from error


def _state_update(update: schemas.StateUpdate) -> StateUpdate:
    if update.command:
        written: object = command_of(update.command.model_dump(exclude_none=True))
    else:
        written = update.values
    return StateUpdate(cast("Any", written), update.as_node)  # LangGraph takes more than it says


def _ttl(ttl: Ttl | None) -> dict[str, Any]:
    return {"strategy": ttl.strategy if ttl else None, "minutes": ttl.ttl if ttl else None}


def _condition(owner_id: UUID, which: ThreadFilter) -> tuple[str, dict[str, Any]]:
    where = "owner_id = %(owner)s"
    parameters: dict[str, Any] = {"owner": owner_id}
    for column in ("metadata", "values"):
        if wanted := getattr(which, column):
            where += f" AND {column} @> %({column})s"
            parameters[column] = Jsonb(wanted)
    if which.status is not None:
        where += " AND status = %(status)s"
        parameters["status"] = which.status
    return where, parameters


async def _hold_unused(connection: Connection, thread_id: UUID) -> None:
    """Keep a thread as it is until the transaction is over: who deletes it, or stores a run on it, waits for that.

    Raises:
        NotFound: if it is gone.
        Conflict: if it has a run that is not over.
    """
    cursor = await connection.execute(
        "SELECT status FROM threads WHERE thread_id = %s FOR NO KEY UPDATE", [thread_id], prepare=True
    )
    row = await cursor.fetchone()
    if row is None:
        raise NotFound(NO_SUCH_THREAD)
    if row["status"] == ThreadStatus.BUSY:
        raise Conflict("The thread has a run that is not over.")


async def _show(connection: Connection, thread_id: UUID, state: StateSnapshot | None) -> None:
    await connection.execute(
        """
        UPDATE threads SET values = %(values)s::jsonb, interrupts = %(interrupts)s, updated_at = now(),
            state_updated_at = now(), error = NULL,
            status = CASE WHEN status = 'busy' THEN 'busy' WHEN %(next)s THEN 'interrupted' ELSE 'idle' END
        WHERE thread_id = %(thread)s
        """,
        {
            "thread": thread_id,
            "values": dumps(state.values).decode() if state else None,
            "interrupts": Jsonb(interrupts_of(state) if state else {}),
            "next": bool(state and state.next),
        },
    )


async def get_threads(request: Request) -> Threads:
    """Return the threads of the app."""
    threads: Threads = request.app.state.threads
    return threads


ThreadsDep = Annotated[Threads, Depends(get_threads)]
