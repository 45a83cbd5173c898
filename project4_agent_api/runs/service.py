"""Runs for the API: make one, wait for it, follow it, stop it. The work behind the routes, without HTTP."""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from math import inf
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends
from uuid_utils.compat import uuid7

from project4_agent_api.assistants.service import Assistants
from project4_agent_api.core.idempotency import Claim
from project4_agent_api.core.postgres import Connection, Pool, Row, connected
from project4_agent_api.core.serialization import dumps
from project4_agent_api.core.state import from_state
from project4_agent_api.core.telemetry.metrics import Metrics
from project4_agent_api.core.telemetry.tracing import Tracing
from project4_agent_api.events import wakeups
from project4_agent_api.events.ids import START, Event, EventId, end_of, stream_of
from project4_agent_api.events.publisher import announce_end
from project4_agent_api.events.subscriber import Listener, Subscriber
from project4_agent_api.models import RunStatus
from project4_agent_api.runs import repository as queue
from project4_agent_api.runs.queue_limit import Limits
from project4_agent_api.runs.repository import NO_SUCH_RUN, SHOWN, Created, NewRun
from project4_agent_api.runs.schemas import CancelAction, ProtocolRun, RunCreate, StatelessRunCreate
from project4_agent_api.runs.webhooks import Webhooks
from shared.errors import Conflict, DatabaseUnavailable, NotFound
from shared.redis.client import RedisClient
from shared.shutdown import Shutdown

_UNFINISHED = (RunStatus.PENDING, RunStatus.RUNNING)
# Written so that PostgreSQL sees the conditions of its indexes of what is not over: in `IN` it does not.
_WITH_STATUS = {
    "pending": "status = 'pending'",
    "running": "status = 'running'",
    "all": "(status = 'pending' OR status = 'running')",
}
_BEGUN_AT = "coalesce(started_at, updated_at)"  # what was stopped before it was begun counts from then on

# The runs of a thread that have events: each part has an index, where a thread may have some ten thousands of runs.
_KEPT = """
    SELECT run_id FROM runs WHERE thread_id = %(thread)s AND owner_id = %(owner)s AND status = 'running'
    UNION ALL (
        SELECT run_id FROM runs WHERE thread_id = %(thread)s AND owner_id = %(owner)s
            AND status NOT IN ('pending', 'running') AND updated_at > now() - make_interval(secs => %(kept)s)
    )
"""


@dataclass(frozen=True)
class Asked:
    """A run that is asked for: its ids are chosen before it is stored, so that its maker can listen first."""

    body: RunCreate
    owner_id: UUID
    run_id: UUID
    thread_id: UUID
    request_id: str | None
    claim: Claim | None = None

    @property
    def stateless(self) -> bool:
        """Whether the thread is made for this run."""
        return isinstance(self.body, StatelessRunCreate)


def ask_for(
    body: RunCreate, owner_id: UUID, thread_id: UUID | None, request_id: str | None, claim: Claim | None = None
) -> Asked:
    """Choose the ids of a run that is asked for; its own is the one that was chosen for its `Idempotency-Key`."""
    return Asked(body, owner_id, claim.made_id if claim else uuid7(), thread_id or uuid7(), request_id, claim)


@dataclass(frozen=True)
class Runs:
    """The runs of a service.

    Attributes:
        pool: Of the database.
        redis: For what is said.
        subscriber: For what is heard.
        assistants: What can be asked for.
        kept_seconds: How long the events of a run that is over are kept.
        patience: After how many seconds of silence whoever waits asks the database once. Words come at once; this is
            for one that its worker could not say any more, because it died just when it had stored an end.
        webhooks: For who is told that one is over.
        limits: On what may wait.
        metrics: Where runs are counted.
        tracing: Tells that they are stored.
        stopping: Whether this process may begin something.
    """

    pool: Pool
    redis: RedisClient
    subscriber: Subscriber
    assistants: Assistants
    kept_seconds: int
    patience: float
    webhooks: Webhooks
    limits: Limits
    metrics: Metrics
    tracing: Tracing
    stopping: Shutdown

    async def create(self, asked: Asked, listener: Listener | None = None) -> Row:
        """Store a run and wake a worker.

        Args:
            asked: The run.
            listener: Somebody who must hear of it from its beginning: no worker is woken before they do.

        Raises:
            NotFound: if there is no such assistant or thread.
            Conflict: if the thread is busy and the run's strategy is `reject`.
            QueueFull, TooManyRequests: if too many runs wait, of the service or of the owner.
            DatabaseUnavailable: if the database is away.
            NotReady: if this process is stopping.
        """
        self.stopping.ensure_accepting_work()
        async with connected(self.pool) as connection:
            await self.limits.admit(connection)
            created = await self.store(connection, asked)
        if listener:
            await listener.hears()
        await self.announce(asked.body.multitask_strategy or "enqueue", created.stopped)
        if asked.body.after_seconds:
            await wakeups.say_due(self.redis)
        else:
            await wakeups.wake(self.redis, asked.owner_id)
        return created.run

    async def store(self, connection: Connection, asked: Asked) -> Created:
        """Store a run, and nothing else.

        Raises:
            NotFound: if there is no such assistant or thread.
            Conflict: if the thread is busy and the run's strategy is `reject`.
            TooManyRequests: if too many of the owner's runs wait.
        """
        new = await self.new_run(connection, asked)
        with self.tracing.storing(new.run_id, new.graph_id) as traceparent:
            created = await self._store(connection, asked, replace(new, traceparent=traceparent))
        self.metrics.stored.labels(new.graph_id).inc()
        return created

    async def _store(self, connection: Connection, asked: Asked, new: NewRun) -> Created:
        if asked.claim is None:
            return await queue.create_run(connection, new, self.limits.user_waiting, self.webhooks)
        async with connection.transaction():
            await asked.claim.made(connection)
            return await queue.create_run(connection, new, self.limits.user_waiting, self.webhooks)

    async def create_all(self, wanted: Sequence[Asked], claim: Claim | None = None) -> list[Row]:
        """Store some runs, all or none, and wake workers.

        Args:
            wanted: The runs.
            claim: On the key that they came with.

        Raises:
            The same as `create`.
        """
        self.stopping.ensure_accepting_work()
        async with connected(self.pool) as connection, connection.transaction():
            if claim is not None:
                await claim.made(connection)
            await self.limits.admit(connection, len(wanted))
            rows = [(await self.store(connection, asked)).run for asked in wanted]
        await wakeups.wake(self.redis, *{asked.owner_id for asked in wanted})
        if any(asked.body.after_seconds for asked in wanted):
            await wakeups.say_due(self.redis)
        return rows

    async def new_run(self, connection: Connection, asked: Asked) -> NewRun:
        """Put together how an assistant is to be run.

        Raises:
            InvalidRequest, NotFound: if there is no such assistant.
        """
        body = asked.body
        assistant = await self.assistants.resolve(connection, asked.owner_id, body.assistant_id)
        given = body.config.model_dump(exclude_none=True) if body.config else {}
        context = assistant.context | (body.context or given.get("configurable") or {})
        configurable = {
            **(assistant.config.get("configurable") or {}),
            **(given.get("configurable") or body.context or {}),
            **(body.checkpoint.configurable(asked.thread_id) if body.checkpoint else {}),
            **({"checkpoint_id": body.checkpoint_id} if body.checkpoint_id else {}),
            **({"__pregel_strict_resume": True} if body.strict_resume else {}),
            "thread_id": str(asked.thread_id),
            "run_id": str(asked.run_id),
            "graph_id": assistant.graph_id,
            "assistant_id": str(assistant.assistant_id),
            "langgraph_auth_user_id": str(asked.owner_id),
        }
        return NewRun(
            run_id=asked.run_id,
            thread_id=asked.thread_id,
            owner_id=asked.owner_id,
            assistant_id=assistant.assistant_id,
            graph_id=assistant.graph_id,
            base_metadata=assistant.metadata,
            metadata=body.metadata or {},
            arguments={
                "input": body.input,
                "command": body.command.model_dump(exclude_none=True) if body.command else None,
                "config": assistant.config | given | {"configurable": configurable},
                "context": context,
                "stream_mode": body.modes(),
                "protocol": isinstance(body, ProtocolRun),
                "interrupt_before": body.interrupt_before,
                "interrupt_after": body.interrupt_after,
                "webhook": body.webhook,
                "feedback_keys": None,
                "temporary": asked.stateless and body.on_completion != "keep",
                "subgraphs": bool(body.stream_subgraphs),
                "resumable": True,
                "durability": body.how_durable(),
                "checkpoint_during": body.how_durable() != "exit",
            },
            multitask_strategy=body.multitask_strategy or "enqueue",
            request_id=asked.request_id,
            after_seconds=body.after_seconds or 0,
            make_thread=asked.stateless or body.if_not_exists == "create",
        )

    async def announce(self, action: str, stopped: Sequence[Row]) -> None:
        """Say which runs were stopped, or are to be."""
        for run in stopped:
            if run["status"] == RunStatus.RUNNING:
                await wakeups.say_stop(self.redis, run["run_id"], action)
            else:
                end = f"{action}\n{{}}".encode()
                await announce_end(
                    self.redis, run["thread_id"], run["run_id"], run["attempt"] + 1, end, self.kept_seconds
                )

    def hearing_end(self, run_id: UUID, *, soon: bool = False) -> AbstractAsyncContextManager[Listener]:
        """Listen for a run's end while the block runs; see `Subscriber.listen`."""
        return self.subscriber.listen(end_of(run_id), soon=soon)

    def hearing_events(self, run_id: UUID, *, soon: bool = False) -> AbstractAsyncContextManager[Listener]:
        """Listen to a run's events while the block runs; see `Subscriber.listen`."""
        return self.subscriber.listen(stream_of(run_id), soon=soon)

    async def result(self, owner_id: UUID, thread_id: UUID, run_id: UUID, listener: Listener) -> bytes:
        """Wait for a run's end, and return what it gives, as JSON.

        Args:
            owner_id: Whose it is.
            thread_id: Its thread.
            run_id: Which one.
            listener: That of `hearing_end`; let it hear None first, if the run may be over.
        """
        while True:
            end = await listener.next(self.patience)
            if end and b"\n" in end:
                return end.partition(b"\n")[2]
            try:
                result = await self.result_now(owner_id, thread_id, run_id)
            except DatabaseUnavailable:  # it comes back, and this can wait
                await listener.hear_again()
                continue
            if result is not None:
                return result

    async def result_now(self, owner_id: UUID, thread_id: UUID, run_id: UUID) -> bytes | None:
        """Return what a run has given, as JSON: that is, what its thread holds; None while it is not over.

        Raises:
            NotFound: if there is no such run.
        """
        async with connected(self.pool) as connection:
            cursor = await connection.execute(
                """
                SELECT runs.status, runs.error, coalesce(threads.values, '{}') AS values, threads.interrupts
                FROM runs JOIN threads USING (thread_id)
                WHERE run_id = %s AND thread_id = %s AND runs.owner_id = %s
                """,
                [run_id, thread_id, owner_id],
            )
            row = await cursor.fetchone()
        if row is None:
            raise NotFound(NO_SUCH_RUN)
        if row["status"] in _UNFINISHED:
            return None
        if row["error"] and row["status"] != RunStatus.INTERRUPTED:
            return dumps({"__error__": row["error"]})
        values = row["values"]  # of any kind: what a graph keeps need not be an object
        if asks := [one for asked in row["interrupts"].values() for one in asked]:
            values = (values if isinstance(values, dict) else {}) | {"__interrupt__": asks}
        return dumps(values)

    async def get(self, owner_id: UUID, thread_id: UUID, run_id: UUID) -> Row:
        """Return a run.

        Raises:
            NotFound: if there is none.
        """
        async with connected(self.pool) as connection:
            cursor = await connection.execute(
                f"SELECT {SHOWN} FROM runs WHERE run_id = %s AND thread_id = %s AND owner_id = %s",  # noqa: S608
                [run_id, thread_id, owner_id],
            )
            row = await cursor.fetchone()
        if row is None:
            raise NotFound(NO_SUCH_RUN)
        return row

    async def moment_to_begin(self, owner_id: UUID, thread_id: UUID) -> datetime | None:
        """Return after which moment the runs were begun that a new reader of a thread is given.

        That is when the last was begun that is over, or earlier, if one that was begun then is not: later ones may have
        been stopped before their turn. None if there is none whose events are kept.

        Raises:
            NotFound: if there is no such thread.
        """
        async with connected(self.pool) as connection:
            cursor = await connection.execute(
                f"""
                SELECT least((
                    SELECT max({_BEGUN_AT}) FROM runs
                    WHERE runs.thread_id = threads.thread_id AND status NOT IN ('pending', 'running')
                        AND updated_at > now() - make_interval(secs => %(kept)s)
                ), (
                    SELECT min(started_at) - interval '1 microsecond' FROM (
                        SELECT started_at FROM runs WHERE thread_id = %(thread)s AND status = 'running'
                        UNION ALL
                        SELECT started_at FROM runs
                        WHERE thread_id = %(thread)s AND owner_id = %(owner)s AND status = 'pending'
                    ) AS unfinished
                )) AS begun_at
                FROM threads WHERE thread_id = %(thread)s AND owner_id = %(owner)s
                """,  # noqa: S608  no value in it
                {"thread": thread_id, "owner": owner_id, "kept": self.kept_seconds},
            )
            row = await cursor.fetchone()
        if row is None:
            raise NotFound(queue.NO_SUCH_THREAD)
        begun_at: datetime | None = row["begun_at"]
        return begun_at

    async def next_begun(self, owner_id: UUID, thread_id: UUID, moment: datetime, after: UUID | None) -> Row | None:
        """Return `run_id` and `begun_at` of the first of a thread's runs since a moment.

        Args:
            owner_id: Whose it is.
            thread_id: Which thread.
            moment: Since when.
            after: Of those of that very moment, which were stopped together, only the ones after this; None for all.

        Returns:
            None if there is none whose events may be kept.
        """
        async with connected(self.pool) as connection:
            cursor = await connection.execute(
                f"""
                SELECT run_id, {_BEGUN_AT} AS begun_at FROM runs
                WHERE run_id = ANY (ARRAY({_KEPT} UNION ALL (
                    SELECT run_id FROM runs WHERE thread_id = %(thread)s AND owner_id = %(owner)s
                        AND status = 'pending' AND started_at IS NOT NULL
                ))) AND ({_BEGUN_AT}, run_id) > (%(moment)s, %(after)s)
                ORDER BY begun_at, run_id LIMIT 1
                """,  # noqa: S608  no value in it
                {
                    "thread": thread_id,
                    "owner": owner_id,
                    "moment": moment,
                    "after": after or UUID(int=0),
                    "kept": self.kept_seconds,
                },
            )
            return await cursor.fetchone()

    async def begun(self, owner_id: UUID, thread_id: UUID, seen: Sequence[UUID] = ()) -> list[Row]:
        """Return the runs of a thread that have begun, or ended without a beginning, in the order of their execution.

        Args:
            owner_id: Whose it is.
            thread_id: Which thread. One that is not there has none.
            seen: Runs that are left out.

        Returns:
            `run_id`, `status`, `created_at`, `updated_at`, `graph_id` and `protocol` (whether it streams so) of each.
            Of the runs whose events are not kept any more, only the newest.
        """
        async with connected(self.pool) as connection:
            cursor = await connection.execute(
                f"""
                SELECT run_id, status, created_at, updated_at, metadata ->> 'graph_id' AS graph_id,
                    kwargs -> 'protocol' = 'true' AS protocol
                FROM runs WHERE run_id = ANY (ARRAY({_KEPT} UNION ALL (
                    SELECT run_id FROM runs WHERE thread_id = %(thread)s AND owner_id = %(owner)s
                        AND status <> 'pending' ORDER BY due_at DESC, run_id DESC LIMIT 1
                ))) AND run_id <> ALL(%(seen)s)
                ORDER BY due_at, run_id
                """,  # noqa: S608  no value in it
                {"thread": thread_id, "owner": owner_id, "seen": list(seen), "kept": self.kept_seconds},
            )
            return await cursor.fetchall()

    async def list(self, owner_id: UUID, thread_id: UUID, *, limit: int, offset: int, status: str | None) -> list[Row]:
        """Return a thread's runs, newest first.

        Raises:
            NotFound: if there is no such thread.
        """
        async with connected(self.pool) as connection:
            cursor = await connection.execute(
                f"""
                SELECT {SHOWN} FROM runs WHERE thread_id = %(thread)s AND owner_id = %(owner)s
                    AND (%(status)s::text IS NULL OR status = %(status)s)
                ORDER BY due_at DESC, run_id DESC LIMIT %(limit)s OFFSET %(offset)s
                """,  # noqa: S608  no value in it
                {"thread": thread_id, "owner": owner_id, "status": status, "limit": limit, "offset": offset},
            )
            rows = await cursor.fetchall()
            if not rows:
                await queue.require_thread(connection, owner_id, thread_id)
        return rows

    async def follow(
        self, owner_id: UUID, thread_id: UUID, run_id: UUID, listener: Listener, after: EventId = START
    ) -> AsyncGenerator[Event]:
        """Give the events of a run until its end, which is the last. See `Subscriber.follow`."""

        async def over_for() -> float | None:
            async with connected(self.pool) as connection:
                cursor = await connection.execute(
                    """
                    SELECT status, extract(epoch FROM now() - updated_at)::float8 AS seconds FROM runs
                    WHERE run_id = %s AND thread_id = %s AND owner_id = %s
                    """,
                    [run_id, thread_id, owner_id],
                )
                run = await cursor.fetchone()
            if run is None:  # it was taken back, or its thread was deleted
                return inf
            return None if run["status"] in _UNFINISHED else run["seconds"]

        async for event in self.subscriber.follow(run_id, listener, after, patience=self.patience, over_for=over_for):
            yield event

    async def stop(self, owner_id: UUID, thread_id: UUID, run_ids: Sequence[UUID], action: CancelAction) -> None:
        """Stop runs of a thread.

        Raises:
            NotFound: if none of them is there and not over.
        """
        condition = f"thread_id = %(thread)s AND run_id = ANY(%(ids)s) AND {_WITH_STATUS['all']}"
        await self._stop(condition, {"owner": owner_id, "thread": thread_id, "ids": list(run_ids)}, action)

    async def stop_if_there(self, owner_id: UUID, thread_id: UUID, run_id: UUID) -> None:
        """Stop a run that nobody follows any more, if it is not over."""
        with contextlib.suppress(NotFound, DatabaseUnavailable):
            await self.stop(owner_id, thread_id, [run_id], "interrupt")

    async def stop_with_status(self, owner_id: UUID, status: str, action: CancelAction) -> None:
        """Stop all runs of an owner with a status: `pending`, `running` or `all`.

        Raises:
            NotFound: if there are none.
        """
        await self._stop(_WITH_STATUS[status], {"owner": owner_id}, action)

    async def stop_of(self, owner_id: UUID, assistant_id: UUID) -> None:
        """Stop the runs of an assistant that is gone, if there are any that are not over."""
        with contextlib.suppress(NotFound):
            condition = f"assistant_id = %(id)s AND {_WITH_STATUS['all']}"
            await self._stop(condition, {"owner": owner_id, "id": assistant_id}, "interrupt")

    async def _stop(self, condition: str, parameters: dict[str, Any], action: CancelAction) -> None:
        async with connected(self.pool) as connection, connection.transaction():
            cursor = await connection.execute(
                f"SELECT run_id FROM runs WHERE owner_id = %(owner)s AND {condition}"  # noqa: S608  no value in it
                " ORDER BY run_id FOR UPDATE",
                parameters,
            )
            found = [row["run_id"] for row in await cursor.fetchall()]
            stopped = await queue.stop_runs(connection, found, action, self.webhooks) if found else []
        if not stopped:
            raise NotFound("There is no such run that is not over.")
        await self.announce(action, stopped)

    async def delete(self, owner_id: UUID, thread_id: UUID, run_id: UUID) -> None:
        """Delete a run that is over, and the checkpoints that it has made.

        Raises:
            NotFound: if there is none.
            Conflict: if it is not over.
        """
        run = await self.get(owner_id, thread_id, run_id)
        if run["status"] in _UNFINISHED:
            raise Conflict("The run is not over. Cancel it first.")
        async with connected(self.pool) as connection, connection.transaction():
            await queue.forget_checkpoints(connection, run_id, None)
            await connection.execute("DELETE FROM runs WHERE run_id = %s", [run_id])


RunsDep = Annotated[Runs, Depends(from_state(Runs))]
