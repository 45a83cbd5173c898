"""Runs for the API: create, read, stop and delete them."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends
from langgraph_sdk.schema import CancelAction

from project4_agent_api.assistants.service import Assistants
from project4_agent_api.core.bounded import Page, encode_object
from project4_agent_api.core.idempotency_keys import Claim
from project4_agent_api.core.postgres import Connection, Pool, Row, connected, execute, fetch_all
from project4_agent_api.core.serialization import EncodedJson
from project4_agent_api.core.state import from_state
from project4_agent_api.core.telemetry.metrics import Metrics
from project4_agent_api.core.telemetry.tracing import Tracing
from project4_agent_api.events import wakeups
from project4_agent_api.events.subscriber import Subscriber, Subscription
from project4_agent_api.models import RunStatus
from project4_agent_api.runs import claims, repository, stopping
from project4_agent_api.runs.queue_limit import QueueLimit
from project4_agent_api.runs.repository import Admission, StoredRun
from project4_agent_api.runs.request import RunRequest
from project4_agent_api.runs.spec import RunKey
from project4_agent_api.runs.webhooks import Webhooks
from shared.errors import Conflict, DatabaseUnavailable, NotFound
from shared.redis.client import RedisClient
from shared.shutdown import Shutdown

UNFINISHED = (RunStatus.PENDING, RunStatus.RUNNING)


@dataclass(frozen=True)
class Runs:
    """The runs of a service.

    Attributes:
        kept_seconds: How long events are kept after a run's end.
        idle_timeout: Idle seconds before a waiter checks the database: the worker may have died after storing the end.
    """

    pool: Pool
    redis: RedisClient
    subscriber: Subscriber
    assistants: Assistants
    kept_seconds: int
    idle_timeout: float
    webhooks: Webhooks
    limit: QueueLimit
    metrics: Metrics
    tracing: Tracing
    shutdown: Shutdown

    async def create(self, request: RunRequest, subscription: Subscription | None = None) -> Row:
        """Store a run and wake a worker.

        Args:
            subscription: Must receive the run's first event, so no worker is woken before it is active.

        Raises:
            NotFound: if there is no such assistant or thread.
            Conflict: if the thread is busy and the run's strategy is `reject`.
            QueueFull, TooManyRequests: if too many runs of the service or of the owner wait.
            DatabaseUnavailable: if the database is unavailable.
            NotReady: if this process is shutting down.
        """
        self.shutdown.ensure_accepting_work()
        async with connected(self.pool) as connection:
            deferred = int(bool(request.body.after_seconds))
            admission = await self.limit.reserve(connection, deferred=deferred)
            stored = await self.store(connection, request, admission)
        if subscription:
            await subscription.wait_active()
        await self.publish_stopped(request.multitask_strategy, stored.stopped)
        await self._wake([request])
        return stored.row

    async def create_all(self, requests: Sequence[RunRequest], claim: Claim | None = None) -> list[Row]:
        """Store some runs, all or none, and wake workers.

        Args:
            claim: On their `Idempotency-Key`.

        Raises:
            The same as `create`.
        """
        self.shutdown.ensure_accepting_work()
        async with connected(self.pool) as connection, connection.transaction():
            if claim is not None:
                await claim.mark_created(connection)
            deferred = sum(bool(request.body.after_seconds) for request in requests)
            admission = await self.limit.reserve(connection, len(requests), deferred)
            rows = [(await self.store(connection, request, admission)).row for request in requests]
        await self._wake(requests)
        return rows

    async def store(self, connection: Connection, request: RunRequest, admission: Admission | None = None) -> StoredRun:
        """Store a run, without waking a worker.

        Args:
            admission: How many runs its owner may have; None for the limits without regard to the service's.

        Raises:
            NotFound: if there is no such assistant or thread.
            Conflict: if the thread is busy and the run's strategy is `reject`.
            TooManyRequests: if too many of the owner's runs wait.
            QueueFull: if too many do while the queue is full.
        """
        self.webhooks.policy.check(request.body.webhook)
        assistant = await self.assistants.resolve(connection, request.key.owner_id, request.body.assistant_id)
        new = request.to_run(assistant)
        with self.tracing.storing_run(new.key.run_id, assistant.graph_id) as traceparent:
            new = replace(new, traceparent=traceparent)
            async with connection.transaction() if request.claim else contextlib.nullcontext():
                if request.claim:
                    await request.claim.mark_created(connection)
                stored = await repository.create_run(
                    connection, new, admission or self.limit.admission(), self.webhooks
                )
        self.metrics.runs_stored.labels(assistant.graph_id).inc()
        return stored

    async def _wake(self, requests: Sequence[RunRequest]) -> None:
        if owners := {request.key.owner_id for request in requests if not request.body.after_seconds}:
            await wakeups.wake_worker(self.redis, *owners)
        if any(request.body.after_seconds for request in requests):
            await wakeups.publish_due_time(self.redis)

    async def publish_stopped(self, action: str, stopped: Sequence[Row]) -> None:
        """Publish which runs were stopped, or are to be; see `stopping.stop_runs`."""
        await stopping.publish_stopped(self.redis, action, stopped, self.kept_seconds)

    async def get(self, key: RunKey) -> Row:
        """Return a run.

        Raises:
            NotFound: if there is none.
        """
        return await repository.get_run(self.pool, key)

    async def result_if_finished(self, key: RunKey) -> bytes | None:
        """Return the result of a run as JSON: the state of its thread, or the error. None while it is not finished.

        Raises:
            NotFound: if there is no such run.
        """
        row = await repository.get_result(self.pool, key)
        if row["status"] in UNFINISHED:
            return None
        if row["error"] and row["status"] != RunStatus.INTERRUPTED:
            return await encode_object({"__error__": row["error"]})
        values: EncodedJson = row["values"]
        if not (
            interrupts := [interrupt for of_task in row["interrupts"].decode_json().values() for interrupt in of_task]
        ):
            return values.encoded
        state = values.decode_json()  # of any type: a graph's state need not be an object
        return await encode_object((state if isinstance(state, dict) else {}) | {"__interrupt__": interrupts})

    async def list(self, owner_id: UUID, thread_id: UUID, *, limit: int, offset: int, status: str | None) -> Page[Row]:
        """Return a thread's runs with encoded JSON, newest first.

        Raises:
            NotFound: if there is no such thread.
        """
        async with connected(self.pool) as connection:
            return await repository.list_runs(
                connection, owner_id, thread_id, limit=limit, offset=offset, status=status
            )

    async def stop(self, owner_id: UUID, thread_id: UUID, run_ids: Sequence[UUID], action: CancelAction) -> None:
        """Stop runs of a thread.

        Raises:
            NotFound: if none of them exists and is unfinished.
        """
        parameters = {"owner_id": owner_id, "thread_id": thread_id, "run_ids": list(run_ids)}
        await self._stop(stopping.LOCK_SOME, parameters, action)

    async def stop_abandoned(self, key: RunKey) -> None:
        """Stop a run whose client has disconnected, if it is unfinished."""
        with contextlib.suppress(NotFound, DatabaseUnavailable):
            await self.stop(key.owner_id, key.thread_id, [key.run_id], "interrupt")

    async def stop_with_status(self, owner_id: UUID, status: str, action: CancelAction) -> None:
        """Stop all runs of an owner with a status: `pending`, `running` or `all`.

        Raises:
            NotFound: if there are none.
        """
        await self._stop(stopping.LOCK_WITH_STATUS[status], {"owner_id": owner_id}, action)

    async def stop_runs_of_assistant(self, owner_id: UUID, assistant_id: UUID) -> None:
        """Stop the unfinished runs of an assistant that was deleted."""
        with contextlib.suppress(NotFound):
            parameters = {"owner_id": owner_id, "assistant_id": assistant_id}
            await self._stop(stopping.LOCK_OF_ASSISTANT, parameters, "interrupt")

    async def _stop(self, lock_statement: str, parameters: dict[str, Any], action: CancelAction) -> None:
        async with connected(self.pool) as connection, connection.transaction():
            run_ids = [row["run_id"] for row in await fetch_all(connection, lock_statement, parameters)]
            stopped = await stopping.stop_runs(connection, run_ids, action, self.webhooks) if run_ids else []
        if not stopped:
            raise NotFound("There is no such unfinished run.")
        await self.publish_stopped(action, stopped)

    async def delete(self, key: RunKey) -> None:
        """Delete a finished run, and the checkpoints that it has made.

        Raises:
            NotFound: if there is none.
            Conflict: if it is unfinished.
        """
        run = await self.get(key)
        if run["status"] in UNFINISHED:
            raise Conflict("The run is not finished. Cancel it first.")
        async with connected(self.pool) as connection, connection.transaction():
            await claims.delete_checkpoints(connection, key.run_id, None)
            await execute(connection, repository.DELETE, [key.run_id])


RunsDep = Annotated[Runs, Depends(from_state(Runs))]
