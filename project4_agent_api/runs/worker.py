"""The worker: it claims runs, executes them, renews their leases, stops them on request, and requeues lost ones."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from uuid import UUID
from weakref import WeakValueDictionary

from loguru import logger
from redis.exceptions import RedisError

from project4_agent_api.core.postgres import connected
from project4_agent_api.events import wakeups
from project4_agent_api.runs import claims
from project4_agent_api.runs.execution import Execution, ExecutionContext
from project4_agent_api.runs.finishing import RunFinisher
from project4_agent_api.runs.loop_watchdog import LoopWatchdog
from project4_agent_api.runs.service import Runs
from project4_agent_api.runs.spec import ClaimedRun, StopReason
from project4_agent_api.settings import Settings
from shared.background import background_task
from shared.errors import DatabaseUnavailable
from shared.redis.client import REDIS_UNAVAILABLE, RedisClient

_BACK_OFF_SECONDS = 1.0
_RECHECK_SECONDS = 0.02
_RENEWALS_PER_LEASE = 3  # so that two may fail


class RunWorker:
    """Executes runs, as many at once as it has slots.

    Args:
        settings: Slots, leases, limits.
        blocking_redis: A client without a response timeout.
        fire_crons: Creates the runs of due crons; returns the seconds until the next one, or None.
    """

    def __init__(
        self,
        settings: Settings,
        runs: Runs,
        *,
        blocking_redis: RedisClient,
        context: ExecutionContext,
        fire_crons: Callable[[Runs], Awaitable[float | None]],
    ) -> None:
        self._settings = settings
        self._runs = runs
        self._pool = runs.pool
        self._blocking_redis = blocking_redis
        self._context = context
        self._fire_crons = fire_crons
        self._metrics = runs.metrics
        self._slots = asyncio.Semaphore(settings.worker_concurrency)
        self._executions: dict[UUID, Execution] = {}
        self._metrics.slots.set(settings.worker_concurrency)
        self._metrics.leases_held.set_function(lambda: len(self._executions))
        self._tasks: set[asyncio.Task[None]] = set()
        self._claim_locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()
        self._scan = asyncio.Event()
        self._served: set[UUID] = set()  # owners without another due run when one of theirs ended
        self._recheck = asyncio.Event()
        self._draining = False
        self._can_claim = False
        self._finisher = RunFinisher(settings, runs, lease_expired=self._scan.set)
        self._watchdog = LoopWatchdog(
            settings, lambda: {run_id: execution.claim for run_id, execution in list(self._executions.items())}
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Execute runs while the block runs. At its end, stop each after its current step and requeue it."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._watchdog.watching())
            await stack.enter_async_context(background_task(self._renew_leases()))
            await stack.enter_async_context(background_task(self._receive_messages()))
            try:
                async with (
                    background_task(self._serve_woken_owners()),
                    background_task(self._scan_database()),
                    background_task(self._recheck_served_owners()),
                ):
                    yield
            finally:
                await self._drain()

    async def can_claim(self) -> bool:
        """Return whether due runs would be started: whether the last scan of the database succeeded."""
        return self._can_claim and not self._draining

    async def _drain(self) -> None:
        self._draining = True
        for execution in self._executions.values():
            execution.stop(StopReason.DRAIN)
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _serve_woken_owners(self) -> None:
        """For each free slot, take an owner with claimable runs from the queue."""
        while True:
            await self._slots.acquire()
            try:
                owner_id = await wakeups.next_owner(self._blocking_redis)
            except (*REDIS_UNAVAILABLE, RedisError) as error:
                self._slots.release()
                logger.warning("wake-ups cannot be received from Redis: {}", type(error).__name__)
                await asyncio.sleep(_BACK_OFF_SECONDS)
                self._scan.set()
            except asyncio.CancelledError:
                self._slots.release()
                raise
            else:
                self._start(owner_id)

    def _start(self, owner_id: UUID) -> None:
        """Execute a run of an owner, in a slot that was acquired."""
        task = asyncio.create_task(self._serve(owner_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._slots.release())

    async def _serve(self, owner_id: UUID) -> None:
        """Execute a run of an owner. If more are due, put the owner at the end of the queue."""
        if not self._draining:
            try:
                run = await self._claim(owner_id)
            except DatabaseUnavailable:
                return  # a scan finds the run when the database has recovered
            if run is None:
                return
            if run.more_due:
                await self._wake(owner_id)
            with logger.contextualize(request_id=run.request_id, run_id=str(run.key.run_id)):
                more_due = await self._execute(run)
            if not more_due:
                self._served.add(owner_id)
                self._recheck.set()
                return
        await self._wake(owner_id)

    async def _claim(self, owner_id: UUID) -> ClaimedRun | None:
        # Concurrent claims do not see each other: without the lock, an owner whom a scan and a wake-up serve at the
        # same moment would exceed USER_RUNS_RUNNING_MAX.
        lock = self._claim_locks.setdefault(owner_id, asyncio.Lock())
        async with lock, connected(self._pool) as connection:
            return await claims.claim_next(
                connection, owner_id, self._settings.lease_seconds, self._settings.user_runs_running_max
            )

    async def _recheck_served_owners(self) -> None:
        """Check once more for due runs of the owners that had none when their last run ended.

        A run that was stored at the same moment as that end found its thread busy, and the end did not see the run.
        """
        while True:
            await self._recheck.wait()
            await asyncio.sleep(_RECHECK_SECONDS)
            self._recheck.clear()
            served, self._served = self._served, set()
            try:
                async with connected(self._pool) as connection:
                    due = await claims.due_among(connection, served)
            except DatabaseUnavailable:
                continue  # a scan finds them when it has recovered
            if due:
                await self._wake(*due)

    async def _wake(self, *owner_ids: UUID) -> None:
        if not await wakeups.wake_worker(self._runs.redis, *owner_ids):
            self._scan.set()

    async def _execute(self, run: ClaimedRun) -> bool:
        """Execute a run. After any failure it either ends or is claimed again.

        Returns:
            Whether other runs of its owner may be due.
        """
        run_id, started_at = run.key.run_id, monotonic()
        execution: Execution | None = None
        try:
            execution = Execution(self._context, run)
            if earlier := self._executions.get(run_id):
                earlier.stop(StopReason.LOST)  # this worker was frozen for a while, and presumed dead
            self._executions[run_id] = execution
            if run.stop_reason:
                execution.stop(run.stop_reason)
            if self._draining:
                execution.stop(StopReason.DRAIN)
            more_due = await self._finisher.finish(run, execution, await execution.execute())
        except DatabaseUnavailable:
            logger.warning("the end of the run cannot be stored because the database is unavailable: it is tried again")
            return True
        except Exception as error:  # noqa: BLE001  of one run; the others continue
            logger.opt(exception=error).error("unexpected {}", type(error).__name__)
            await self._finisher.fail(run, execution, error)
            return True
        finally:
            if execution is not None and self._executions.get(run_id) is execution:
                del self._executions[run_id]
        logger.info("run ended after {:.1f} ms", (monotonic() - started_at) * 1000)
        return more_due

    async def _renew_leases(self) -> None:
        """Renew the leases periodically, and pick up stop requests when Redis is unavailable."""
        renewed_at = monotonic()
        while True:
            await asyncio.sleep(self._settings.lease_seconds / _RENEWALS_PER_LEASE)
            try:
                if self._executions:
                    await self._renew()
                renewed_at = monotonic()
                self._scan.set()
            except DatabaseUnavailable:
                if monotonic() - renewed_at > self._settings.lease_seconds:
                    for execution in self._executions.values():
                        execution.stop(StopReason.LOST)
            except Exception as error:  # noqa: BLE001  the renewal must not end before the worker
                logger.opt(exception=error).error("unexpected {}", type(error).__name__)

    async def _renew(self) -> None:
        executions = dict(self._executions)
        claims_by_run = {run_id: execution.claim for run_id, execution in executions.items()}
        async with connected(self._pool) as connection:
            renewed = await claims.renew_leases(connection, claims_by_run, self._settings.lease_seconds)
        self._metrics.leases_extended.inc(len(renewed))
        for run_id, execution in executions.items():
            if run_id not in renewed and self._executions.get(run_id) is execution and not execution.finished:
                logger.warning("run {} was claimed by another worker", run_id)
                execution.stop(StopReason.LOST)
            elif action := renewed.get(run_id):
                execution.stop(StopReason(action))

    async def _receive_messages(self) -> None:
        """Receive the messages to all workers: stop requests and changed due times."""
        while True:
            with contextlib.suppress(Exception):
                async with self._runs.subscriber.subscribe(wakeups.WORKER_CHANNEL) as subscription:
                    while True:
                        message = await subscription.messages.get()
                        stop = wakeups.parse_stop(message) if message else None
                        if stop is None:
                            self._scan.set()
                        elif execution := self._executions.get(stop[1]):
                            execution.stop(StopReason(stop[0]))
            await asyncio.sleep(_BACK_OFF_SECONDS)

    async def _scan_database(self) -> None:
        """Find due runs and crons, and expired leases, in the database: at the start, at due times, and on request."""
        while True:
            self._scan.clear()
            seconds: float | None = _BACK_OFF_SECONDS
            try:
                await self._finisher.requeue_expired()
                next_cron = await self._fire_crons(self._runs)
                async with connected(self._pool) as connection:
                    owners = await claims.due_owners(connection, self._settings.user_runs_running_max)
                    next_run = await claims.seconds_until_due(connection)
                seconds = min((delay for delay in (next_cron, next_run) if delay is not None), default=None)
                while owners and not self._slots.locked():
                    await self._slots.acquire()
                    self._start(owners.pop(0))
                if owners:
                    await wakeups.wake_worker(self._runs.redis, *owners)
                self._can_claim = True
            except DatabaseUnavailable:
                self._can_claim = False
            except Exception as error:  # noqa: BLE001  the next scan may succeed
                self._can_claim = False
                logger.opt(exception=error).error("unexpected {}", type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if seconds is None else max(0.0, seconds)):
                    await self._scan.wait()
