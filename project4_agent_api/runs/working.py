"""A worker's days: claim runs, execute them, keep their leases, hear what is to be stopped, take over from the dead."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

from loguru import logger
from redis.asyncio import Redis

from project4_agent_api.models import RunStatus
from project4_agent_api.postgres import Connection, Pool, Row, connected
from project4_agent_api.runs import queue, signals
from project4_agent_api.runs.events import END, Subscriber, announce_end
from project4_agent_api.runs.execution import DRAIN, LOST, ROLLBACK, Engine, Execution, Outcome
from project4_agent_api.runs.queue import Ending
from project4_agent_api.runs.scheduled import fire_schedules
from project4_agent_api.runs.service import Runs
from project4_agent_api.runs.webhooks import Webhooks
from project4_agent_api.settings import Settings
from project4_agent_api.wire import dumps
from shared.background import in_background
from shared.errors import DatabaseUnavailable
from shared.redis import REDIS_AWAY

_BACK_OFF_SECONDS = 1.0
_BEATS = 3  # in one lease: two may be lost


class RunWorker:
    """Executes runs, as many at once as it has slots.

    Args:
        settings: How many, how long, how often.
        pool: Of the database.
        redis: For what is said.
        waiting_redis: A client whose answers may take for ever.
        subscriber: Hears what is said to all workers.
        engine: Executes.
        runs: Makes those that are due by a schedule.
        webhooks: For who is told that a run is over.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        pool: Pool,
        redis: Redis,
        waiting_redis: Redis,
        subscriber: Subscriber,
        engine: Engine,
        runs: Runs,
        webhooks: Webhooks,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._redis = redis
        self._waiting_redis = waiting_redis
        self._subscriber = subscriber
        self._engine = engine
        self._runs = runs
        self._webhooks = webhooks
        self._claim = uuid4()
        self._slots = asyncio.Semaphore(settings.worker_concurrency)
        self._executions: dict[UUID, Execution] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._look = asyncio.Event()
        self._draining = False

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Work while the block runs. At its end runs are given back after the step that they are at."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(in_background(self._keep_leases()))
            await stack.enter_async_context(in_background(self._hear()))
            try:
                async with in_background(self._take_woken()), in_background(self._look_around()):
                    yield
            finally:
                await self._drain()

    async def _drain(self) -> None:
        self._draining = True
        for execution in self._executions.values():
            execution.stop(DRAIN)
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _take_woken(self) -> None:
        """Take threads that others were told to look at, one for each free slot."""
        while True:
            await self._slots.acquire()
            try:
                woken: Any = await self._waiting_redis.brpop([signals.WOKEN])
            except REDIS_AWAY as error:
                self._slots.release()
                logger.warning("nobody can be woken: {}", type(error).__name__)
                await asyncio.sleep(_BACK_OFF_SECONDS)
                self._look.set()
            except asyncio.CancelledError:
                self._slots.release()
                raise
            else:
                self._start(UUID(woken[1].decode()))

    def _start(self, thread_id: UUID) -> None:
        """Begin with the runs of a thread, in a slot that was acquired."""
        task = asyncio.create_task(self._work_on(thread_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._slots.release())

    async def _work_on(self, thread_id: UUID) -> None:
        """Execute the runs of a thread until none is due."""
        while not self._draining:
            try:
                async with connected(self._pool) as connection:
                    run = await queue.claim_next(connection, thread_id, self._claim, self._settings.lease_seconds)
            except DatabaseUnavailable:
                return  # its time comes when the database is back and somebody looks
            if run is None:
                return
            with logger.contextualize(request_id=run["request_id"], run_id=str(run["run_id"])):
                await self._execute(run)
        await signals.wake(self._redis, thread_id)

    async def _execute(self, run: Row) -> None:
        execution = self._executions[run["run_id"]] = Execution(self._engine, run)
        try:
            if run["cancel"]:
                execution.stop(run["cancel"])
            if self._draining:
                execution.stop(DRAIN)
            started = monotonic()
            outcome = await execution.run()
            await self._insist(lambda connection: self._settle(connection, run, execution, outcome))
            logger.info("run ended after {:.1f} ms", (monotonic() - started) * 1000)
        except Exception as error:  # noqa: BLE001  of one run; the others go on
            logger.opt(exception=error).error("unexpected {}", type(error).__name__)
        finally:
            del self._executions[run["run_id"]]

    async def _insist(self, store: Callable[[Connection], Awaitable[None]]) -> None:
        """Store how a run has ended, also if the database is away for a while: as long as the lease may last."""
        deadline = monotonic() + self._settings.lease_seconds
        while True:
            try:
                async with connected(self._pool) as connection:
                    await store(connection)
            except DatabaseUnavailable:
                if monotonic() > deadline:
                    raise
                await asyncio.sleep(_BACK_OFF_SECONDS)
            else:
                return

    async def _settle(self, connection: Connection, run: Row, execution: Execution, outcome: Outcome) -> None:
        run_id = run["run_id"]
        if execution.stop_reason == LOST:
            return
        if execution.stop_reason == ROLLBACK:
            await queue.forget_checkpoints(connection, run_id, self._claim)
            status, mine = (
                "rollback",
                await queue.delete_run(connection, run_id, self._claim, await execution.state_before()),
            )
        elif outcome.ending is None:
            await queue.give_back(connection, run_id, self._claim)
            return
        else:
            status, mine = outcome.ending.status, await self._finish(connection, run, outcome.ending)
        if mine:  # only now: whoever hears it finds it stored
            execution.ask(outcome)
            execution.publisher.put(END, f"{status}\n".encode() + outcome.result)

    async def _finish(self, connection: Connection, run: Row, ending: Ending) -> bool:
        """Store how a run has ended, or delete its thread, which is what becomes of a temporary one."""
        run_id, thread_id, temporary = run["run_id"], run["thread_id"], run["kwargs"]["temporary"]
        if run["kwargs"]["webhook"] is None:
            if temporary:
                return await queue.delete_threads(connection, [thread_id], claim=self._claim) > 0
            return await queue.finish_run(connection, run_id, self._claim, ending)
        async with connection.transaction():
            mine = await queue.finish_run(connection, run_id, self._claim, ending)
            if mine:
                await self._webhooks.store(connection, [run_id])
            if mine and temporary:
                await queue.delete_threads(connection, [thread_id])
        return mine

    async def _keep_leases(self) -> None:
        """Say again and again that the runs are being worked on; hear so what is to be stopped, whatever Redis does."""
        heard = monotonic()
        while True:
            await asyncio.sleep(self._settings.lease_seconds / _BEATS)
            try:
                if self._executions:
                    await self._extend()
                heard = monotonic()
                self._look.set()
            except DatabaseUnavailable:
                if monotonic() - heard > self._settings.lease_seconds:
                    for execution in self._executions.values():
                        execution.stop(LOST)

    async def _extend(self) -> None:
        mine = dict(self._executions)
        async with connected(self._pool) as connection:
            rows = await queue.extend_leases(connection, self._claim, list(mine), self._settings.lease_seconds)
        kept = {row["run_id"]: row["cancel"] for row in rows}
        for run_id, execution in mine.items():
            if run_id not in kept and run_id in self._executions and not execution.over:
                logger.warning("run {} is another worker's now", run_id)
                execution.stop(LOST)
            elif kept.get(run_id):
                execution.stop(kept[run_id])

    async def _hear(self) -> None:
        """Hear what is said to all workers."""
        while True:
            with contextlib.suppress(Exception):
                async with self._subscriber.listen(signals.SIGNALS) as listener:
                    while True:
                        signal = await listener.messages.get()
                        stop = signals.stop_in(signal) if signal else None
                        if stop is None:
                            self._look.set()
                        elif execution := self._executions.get(stop[1]):
                            execution.stop(stop[0])
            await asyncio.sleep(_BACK_OFF_SECONDS)

    async def _look_around(self) -> None:
        """Find in the database what nobody was told of: at the start, when something falls due, when told to look."""
        while True:
            self._look.clear()
            seconds: float | None = _BACK_OFF_SECONDS
            try:
                await self._free_expired()
                next_schedule = await fire_schedules(self._runs)
                async with connected(self._pool) as connection:
                    threads = await queue.due_threads(connection, self._settings.worker_concurrency)
                    next_run = await queue.seconds_until_due(connection)
                seconds = min((one for one in (next_schedule, next_run) if one is not None), default=None)
                for thread_id in threads:
                    if not self._slots.locked():
                        await self._slots.acquire()
                        self._start(thread_id)
            except DatabaseUnavailable:
                pass
            except Exception as error:  # noqa: BLE001  a worker goes on looking whatever it has seen
                logger.opt(exception=error).error("unexpected {}", type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if seconds is None else max(0.0, seconds)):
                    await self._look.wait()

    async def _free_expired(self) -> None:
        async with connected(self._pool) as connection, connection.transaction():
            freed = await queue.free_expired(connection, self._settings.run_attempts)
            if failed := [run["run_id"] for run in freed if run["status"] == RunStatus.ERROR]:
                await self._webhooks.store(connection, failed)
        for run in freed:
            logger.warning("the worker of run {} died at attempt {}", run["run_id"], run["attempt"])
            if run["status"] == RunStatus.ERROR:
                end = b"error\n" + dumps({"__error__": run["error"]})
                await announce_end(
                    self._redis,
                    run["thread_id"],
                    run["run_id"],
                    run["attempt"] + 1,
                    end,
                    self._settings.run_events_seconds,
                )
