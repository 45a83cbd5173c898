"""Store how runs ended, and publish it: the end of an attempt, a rollback, a failure, an expired lease."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from typing import TypeVar
from uuid import UUID

from loguru import logger

from project4_agent_api.core.model_usage import UsageByModel, record_usage
from project4_agent_api.core.postgres import Connection, connected
from project4_agent_api.core.serialization import dumps
from project4_agent_api.core.storage import ROW_BYTES
from project4_agent_api.core.telemetry.metrics import REQUEUED_DRAINED, REQUEUED_LOST
from project4_agent_api.events.publisher import publish_end
from project4_agent_api.models import RunStatus, ThreadStatus
from project4_agent_api.runs import claims
from project4_agent_api.runs.claims import Ending
from project4_agent_api.runs.execution import Execution, Outcome
from project4_agent_api.runs.service import Runs
from project4_agent_api.runs.spec import ClaimedRun, StopReason
from project4_agent_api.settings import Settings
from project4_agent_api.threads.repository import delete_temporary_thread, delete_threads
from shared.errors import DatabaseUnavailable

_BACK_OFF_SECONDS = 1.0

T = TypeVar("T")


@dataclass(frozen=True)
class RunFinisher:
    """Stores how runs ended, and publishes it.

    Attributes:
        lease_expired: Called after a lease was expired on purpose, so that the run is claimed again at once.
    """

    settings: Settings
    runs: Runs
    lease_expired: Callable[[], None]

    async def finish(self, run: ClaimedRun, execution: Execution, outcome: Outcome) -> bool:
        """Store how an attempt ended, and publish it.

        Returns:
            Whether other runs of its owner may be due.

        Raises:
            DatabaseUnavailable: if the database did not recover for as long as a lease.
        """
        return await self._retry(partial(self._finish, run, execution, outcome))

    async def fail(self, run: ClaimedRun, execution: Execution | None, error: Exception) -> None:
        """End a run whose outcome cannot be stored, or that could not even be started, and publish that."""
        reason = {"error": type(error).__name__, "message": "An internal error occurred. It was recorded."}
        ending = Ending(RunStatus.ERROR, ThreadStatus.ERROR, error=reason)

        async def store() -> bool:
            async with connected(self.runs.pool) as connection:
                return await self._store(connection, run, ending) is not None

        try:
            stored = await self._retry(store)
        except Exception as again:  # noqa: BLE001  its lease expires, and another worker tries
            logger.opt(exception=again).error("unexpected {}", type(again).__name__)
            return
        if not stored:
            return
        result = dumps({"__error__": reason})
        if execution is None:
            await self._publish_end(run.key.thread_id, run.key.run_id, run.attempt, b"error\n" + result)
        else:
            self._observe(execution, RunStatus.ERROR)
            execution.publisher.put_end(RunStatus.ERROR, result)

    async def requeue_expired(self) -> None:
        """Requeue the runs of workers that died, or end them after too many attempts."""
        async with connected(self.runs.pool) as connection, connection.transaction():
            requeued = await claims.requeue_expired(connection, self.settings.run_attempts)
            failed = [run for run in requeued if run["status"] == RunStatus.ERROR]
            if failed:
                await self.runs.webhooks.store(connection, [run["run_id"] for run in failed])
            if temporary := [run["thread_id"] for run in failed if run["temporary"]]:
                await delete_threads(connection, temporary)
        for run in requeued:
            logger.warning("the worker of run {} died in attempt {}", run["run_id"], run["attempt"])
            if run["status"] == RunStatus.ERROR:
                self.runs.metrics.runs_abandoned.inc()
                end = b"error\n" + dumps({"__error__": run["error"]})
                await self._publish_end(run["thread_id"], run["run_id"], run["attempt"] + 1, end)
            else:
                self.runs.metrics.runs_requeued.labels(REQUEUED_LOST).inc()

    async def _retry(self, store: Callable[[], Awaitable[T]]) -> T:
        """Store something, and try again while the database is unavailable, for as long as a lease."""
        deadline = monotonic() + self.settings.lease_seconds
        while True:
            try:
                return await store()
            except DatabaseUnavailable:
                if monotonic() > deadline:
                    raise
                await asyncio.sleep(_BACK_OFF_SECONDS)

    async def _record_usage(self, run: ClaimedRun, execution: Execution) -> None:
        """Record the tokens of an attempt, however it ended: they were spent."""
        if execution.usage:
            await record_usage(self.runs.pool, run.key.owner_id, execution.usage, run.key.run_id)
            execution.usage = UsageByModel()

    async def _finish(self, run: ClaimedRun, execution: Execution, outcome: Outcome) -> bool:
        await self._record_usage(run, execution)
        if execution.stop_reason == StopReason.LOST:
            self.runs.metrics.leases_lost.inc()
            return False
        run_id = run.key.run_id
        status: str
        more_due: bool | None
        if execution.stop_reason == StopReason.ROLLBACK:
            status, more_due = StopReason.ROLLBACK, await self._roll_back(run, execution)
        else:
            async with connected(self.runs.pool) as connection:
                if execution.stop_reason == StopReason.DATABASE_UNAVAILABLE:
                    await claims.expire_lease(connection, run_id, run.claim)
                    self.lease_expired()
                    return False
                if outcome.ending is None:
                    await claims.requeue(connection, run_id, run.claim)
                    self.runs.metrics.runs_requeued.labels(REQUEUED_DRAINED).inc()
                    return True
                ending = replace(outcome.ending, stored_bytes=ROW_BYTES + execution.written.uncounted)
                status, more_due = ending.status, await self._store(connection, run, ending)
        if more_due is not None:  # published last: a client that receives the end finds it stored
            self._observe(execution, status)
            execution.publish_questions(outcome)
            execution.publisher.put_end(status, self._published_result(run, outcome.result))
        return more_due is not False

    async def _roll_back(self, run: ClaimedRun, execution: Execution) -> bool | None:
        """Delete a run and its checkpoints. If that is interrupted, the next attempt at the run starts with it again.

        No connection is held while the state is read, which borrows another one: with many rollbacks at once, each
        would wait for the others.

        Returns:
            The same as `_store`.
        """
        run_id, claim = run.key.run_id, run.claim
        async with connected(self.runs.pool) as connection:
            if run.spec.temporary:
                return await delete_temporary_thread(connection, run.key.thread_id, claim) or None
            if not await claims.delete_checkpoints(connection, run_id, claim):
                return None
        before = await execution.state_before()
        async with connected(self.runs.pool) as connection:
            return await claims.delete_run(connection, run_id, claim, before) or None

    async def _store(self, connection: Connection, run: ClaimedRun, ending: Ending) -> bool | None:
        """Store how a run ended; if its thread is temporary, delete the thread.

        Returns:
            Whether other runs of its owner may be due; None if another worker has the run.
        """
        run_id, thread_id, temporary = run.key.run_id, run.key.thread_id, run.spec.temporary
        if run.spec.webhook is None and temporary:
            return await delete_temporary_thread(connection, thread_id, run.claim) or None
        if run.spec.webhook is None:
            return await claims.finish_run(connection, run_id, run.claim, ending)
        async with connection.transaction():
            more_due = await claims.finish_run(connection, run_id, run.claim, ending)
            if more_due is not None:
                await self.runs.webhooks.store(connection, [run_id])
                if temporary:
                    await delete_threads(connection, [thread_id])
        return more_due

    def _observe(self, execution: Execution, status: str) -> None:
        self.runs.metrics.run_time.labels(execution.graph_id, status).observe(monotonic() - execution.started_at)

    def _published_result(self, run: ClaimedRun, result: bytes) -> bytes | None:
        """Return the result if it is not larger than all events together may be; clients read it from the database."""
        if len(result) <= self.settings.run_events_kb * 1024:
            return result
        if not run.spec.temporary:
            return None
        message = f"The result has {len(result):,} bytes, more than can be returned for a run without a kept thread."
        return dumps({"__error__": {"error": "ResultTooLarge", "message": message}})

    async def _publish_end(self, thread_id: UUID, run_id: UUID, attempt: int, end: bytes) -> None:
        await publish_end(self.runs.redis, thread_id, run_id, attempt, end, self.runs.kept_seconds)
