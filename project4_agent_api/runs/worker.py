"""A worker's days: claim runs, execute them, keep their leases, hear what is to be stopped, take over from the dead."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from uuid import UUID

from loguru import logger
from redis.exceptions import RedisError

from project4_agent_api.core.postgres import Connection, Pool, Row, connected
from project4_agent_api.core.serialization import dumps
from project4_agent_api.core.telemetry.metrics import AGAIN_DRAINED, AGAIN_LOST, Metrics
from project4_agent_api.crons.firing import fire_schedules
from project4_agent_api.events import wakeups
from project4_agent_api.events.events import Subscriber, announce_end
from project4_agent_api.models import RunStatus, ThreadStatus
from project4_agent_api.runs import repository as queue
from project4_agent_api.runs.execution import AWAY, DRAIN, LOST, ROLLBACK, Engine, Execution, Outcome
from project4_agent_api.runs.loop_watchdog import LoopWatch
from project4_agent_api.runs.repository import Ending
from project4_agent_api.runs.service import Runs
from project4_agent_api.runs.webhooks import Webhooks
from project4_agent_api.settings import Settings
from shared.background import in_background
from shared.errors import DatabaseUnavailable
from shared.redis.client import REDIS_AWAY, Client

_BACK_OFF_SECONDS = 1.0
_LOOK_AGAIN_SECONDS = 0.02
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
        metrics: Where runs and leases are counted.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        pool: Pool,
        redis: Client,
        waiting_redis: Client,
        subscriber: Subscriber,
        engine: Engine,
        runs: Runs,
        webhooks: Webhooks,
        metrics: Metrics,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._redis = redis
        self._waiting_redis = waiting_redis
        self._subscriber = subscriber
        self._engine = engine
        self._runs = runs
        self._webhooks = webhooks
        self._metrics = metrics
        self._slots = asyncio.Semaphore(settings.worker_concurrency)
        self._executions: dict[UUID, Execution] = {}
        metrics.slots.set(settings.worker_concurrency)
        metrics.leases_held.set_function(lambda: len(self._executions))
        self._tasks: set[asyncio.Task[None]] = set()
        self._look = asyncio.Event()
        self._served: set[UUID] = set()  # users of whom nothing more was due when a run ended
        self._look_again = asyncio.Event()
        self._draining = False
        self._can_claim = False
        self._watch = LoopWatch(settings, lambda: {run_id: one.claim for run_id, one in list(self._executions.items())})

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Work while the block runs. At its end runs are given back after the step that they are at."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._watch.watching())
            await stack.enter_async_context(in_background(self._keep_leases()))
            await stack.enter_async_context(in_background(self._hear()))
            try:
                async with (
                    in_background(self._take_woken()),
                    in_background(self._look_around()),
                    in_background(self._look_for_missed()),
                ):
                    yield
            finally:
                await self._drain()

    async def can_claim(self) -> bool:
        """Whether runs that are due would be begun: when it last looked for some it could."""
        return self._can_claim and not self._draining

    async def _drain(self) -> None:
        self._draining = True
        for execution in self._executions.values():
            execution.stop(DRAIN)
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _take_woken(self) -> None:
        """Take users who have something to be executed, one for each free slot."""
        while True:
            await self._slots.acquire()
            try:
                owner_id = await wakeups.woken(self._waiting_redis)
            except (*REDIS_AWAY, RedisError) as error:
                self._slots.release()
                logger.warning("words of Redis are not heard: {}", type(error).__name__)
                await asyncio.sleep(_BACK_OFF_SECONDS)
                self._look.set()
            except asyncio.CancelledError:
                self._slots.release()
                raise
            else:
                self._start(owner_id)

    def _start(self, owner_id: UUID) -> None:
        """Execute a run of a user, in a slot that was acquired."""
        task = asyncio.create_task(self._work_for(owner_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._slots.release())

    async def _work_for(self, owner_id: UUID) -> None:
        """Execute a run of a user. If others of theirs are due, they take their turn behind other users'."""
        if not self._draining:
            try:
                async with connected(self._pool) as connection:
                    run = await queue.claim_next(
                        connection, owner_id, self._settings.lease_seconds, self._settings.user_runs_running_max
                    )
            except DatabaseUnavailable:
                return  # its time comes when the database is back and somebody looks
            if run is None:
                return
            if run["more"]:
                await self._wake(owner_id)
            with logger.contextualize(request_id=run["request_id"], run_id=str(run["run_id"])):
                more = await self._execute(run)
            if not more:
                self._served.add(owner_id)
                self._look_again.set()
                return
        await self._wake(owner_id)

    async def _look_for_missed(self) -> None:
        """Look once more for runs of users of whom none was due when their last one ended.

        One that was stored while that end was being stored found its thread busy, and was not seen by the end either.
        """
        while True:
            await self._look_again.wait()
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            self._look_again.clear()
            served, self._served = self._served, set()
            try:
                async with connected(self._pool) as connection:
                    due = await queue.due_among(connection, served)
            except DatabaseUnavailable:
                continue  # somebody looks when it is back
            if due:
                await self._wake(*due)

    async def _wake(self, *owner_ids: UUID) -> None:
        if not await wakeups.wake(self._redis, *owner_ids):
            self._look.set()  # what Redis cannot say stands in the database

    async def _execute(self, run: Row) -> bool:
        """Execute a run. Whatever fails at that, it does not stay as it is: it ends, or another worker takes it.

        Returns:
            Whether others of its owner's may be due.
        """
        run_id, started = run["run_id"], monotonic()
        execution: Execution | None = None
        try:
            execution = Execution(self._engine, run)
            if earlier := self._executions.get(run_id):
                earlier.stop(LOST)  # this worker was taken for dead: it has been frozen for a while
            self._executions[run_id] = execution
            if run["cancel"]:
                execution.stop(run["cancel"])
            if self._draining:
                execution.stop(DRAIN)
            more = await self._settled(run, execution, await execution.run())
        except DatabaseUnavailable:
            logger.warning("how the run has ended cannot be stored: it is executed again")
            return True
        except Exception as error:  # noqa: BLE001  of one run; the others go on
            logger.opt(exception=error).error("unexpected {}", type(error).__name__)
            await self._fail(run, execution, error)
            return True
        finally:
            if execution is not None and self._executions.get(run_id) is execution:
                del self._executions[run_id]
        logger.info("run ended after {:.1f} ms", (monotonic() - started) * 1000)
        return more

    async def _settled(self, run: Row, execution: Execution, outcome: Outcome) -> bool:
        more = True

        async def settle() -> None:
            nonlocal more
            more = await self._settle(run, execution, outcome)

        await self._insist(settle)
        return more

    async def _fail(self, run: Row, execution: Execution | None, error: Exception) -> None:
        """End a run that cannot end as it should: what it gives cannot be stored, or it cannot even be begun."""
        reason = {"error": type(error).__name__, "message": "An internal error occurred. It was recorded."}
        ending = Ending(RunStatus.ERROR, ThreadStatus.ERROR, error=reason)
        mine = False

        async def store() -> None:
            nonlocal mine
            async with connected(self._pool) as connection:
                mine = await self._finish(connection, run, ending) is not None

        try:
            await self._insist(store)
        except Exception as again:  # noqa: BLE001  its lease runs out, and another worker tries
            logger.opt(exception=again).error("unexpected {}", type(again).__name__)
        if mine:
            if execution is not None:
                self._count(execution, RunStatus.ERROR)
            result = dumps({"__error__": reason})
            if execution is not None:
                execution.publisher.put_end(RunStatus.ERROR, result)
            else:
                await self._announce(run, run["attempt"], b"error\n" + result)

    async def _insist(self, store: Callable[[], Awaitable[None]]) -> None:
        """Store how a run has ended, also if the database is away for a while: as long as the lease may last."""
        deadline = monotonic() + self._settings.lease_seconds
        while True:
            try:
                await store()
            except DatabaseUnavailable:
                if monotonic() > deadline:
                    raise
                await asyncio.sleep(_BACK_OFF_SECONDS)
            else:
                return

    async def _settle(self, run: Row, execution: Execution, outcome: Outcome) -> bool:
        """Store how a run has ended, and say it. Returns whether others of its owner's may be due."""
        run_id, claim = run["run_id"], run["claim"]
        if execution.stop_reason == LOST:
            self._metrics.leases_lost.inc()
            return False
        status: str
        more: bool | None
        if execution.stop_reason == ROLLBACK:
            status, more = "rollback", await self._take_back(run, execution)
        else:
            async with connected(self._pool) as connection:
                if execution.stop_reason == AWAY:
                    await queue.let_go(connection, run_id, claim)
                    self._look.set()
                    return False
                if outcome.ending is None:
                    await queue.give_back(connection, run_id, claim)
                    self._metrics.begun_again.labels(AGAIN_DRAINED).inc()
                    return True
                status, more = outcome.ending.status, await self._finish(connection, run, outcome.ending)
        if more is not None:  # only now: whoever hears it finds it stored
            self._count(execution, status)
            execution.ask(outcome)
            execution.publisher.put_end(status, self._shown(run, outcome.result))
        return more is not False

    def _count(self, execution: Execution, status: str) -> None:
        self._metrics.ran.labels(execution.graph_id, status).observe(monotonic() - execution.began)

    def _shown(self, run: Row, result: bytes) -> bytes | None:
        """Return what is said of a result: all of it, unless that is more than is kept of all events."""
        if len(result) <= self._settings.run_events_kb * 1024:
            return result
        if not run["kwargs"]["temporary"]:
            return None
        message = f"The run has given {len(result):,} bytes, more than is passed on. It was on a thread of its own."
        return dumps({"__error__": {"error": "ResultTooLarge", "message": message}})

    async def _take_back(self, run: Row, execution: Execution) -> bool | None:
        """Store that a run never was. Where that is cut short, the next attempt at the run begins with it again.

        No connection is kept while the state is read, which takes another one: many who did would wait for each other.

        Returns:
            The same as `_finish`.
        """
        run_id, claim = run["run_id"], run["claim"]
        async with connected(self._pool) as connection:
            if run["kwargs"]["temporary"]:
                return await queue.delete_temporary(connection, run["thread_id"], claim) or None
            if not await queue.forget_checkpoints(connection, run_id, claim):
                return None
        before = await execution.state_before()
        async with connected(self._pool) as connection:
            return await queue.delete_run(connection, run_id, claim, before) or None

    async def _finish(self, connection: Connection, run: Row, ending: Ending) -> bool | None:
        """Store how a run has ended, or delete its thread, which is what becomes of a temporary one.

        Returns:
            Whether others of its owner's may be due; None if it was another worker's.
        """
        run_id, claim, thread_id, temporary = run["run_id"], run["claim"], run["thread_id"], run["kwargs"]["temporary"]
        if run["kwargs"]["webhook"] is None and temporary:
            return await queue.delete_temporary(connection, thread_id, claim) or None
        if run["kwargs"]["webhook"] is None:
            finished = await queue.finish_run(connection, run_id, claim, ending)
            return finished["more"] if finished else None
        async with connection.transaction():
            finished = await queue.finish_run(connection, run_id, claim, ending)
            if finished:
                await self._webhooks.store(connection, [run_id])
            if finished and temporary:
                await queue.delete_threads(connection, [thread_id])
        return finished["more"] if finished else None

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
            except Exception as error:  # noqa: BLE001  what keeps the leases must not end before the worker
                logger.opt(exception=error).error("unexpected {}", type(error).__name__)

    async def _extend(self) -> None:
        mine = dict(self._executions)
        claims = {run_id: execution.claim for run_id, execution in mine.items()}
        async with connected(self._pool) as connection:
            kept = await queue.extend_leases(connection, claims, self._settings.lease_seconds)
        self._metrics.leases_extended.inc(len(kept))
        for run_id, execution in mine.items():
            if run_id not in kept and self._executions.get(run_id) is execution and not execution.over:
                logger.warning("run {} is another worker's now", run_id)
                execution.stop(LOST)
            elif cancel := kept.get(run_id):
                execution.stop(cancel)

    async def _hear(self) -> None:
        """Hear what is said to all workers."""
        while True:
            with contextlib.suppress(Exception):
                async with self._subscriber.listen(wakeups.SIGNALS) as listener:
                    while True:
                        signal = await listener.messages.get()
                        stop = wakeups.stop_in(signal) if signal else None
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
                    owners = await queue.due_owners(connection, self._settings.user_runs_running_max)
                    next_run = await queue.seconds_until_due(connection)
                seconds = min((one for one in (next_schedule, next_run) if one is not None), default=None)
                while owners and not self._slots.locked():
                    await self._slots.acquire()
                    self._start(owners.pop(0))
                if owners:
                    await wakeups.wake(self._redis, *owners)
                self._can_claim = True
            except DatabaseUnavailable:
                self._can_claim = False
            except Exception as error:  # noqa: BLE001  a worker goes on looking whatever it has seen
                self._can_claim = False
                logger.opt(exception=error).error("unexpected {}", type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if seconds is None else max(0.0, seconds)):
                    await self._look.wait()

    async def _free_expired(self) -> None:
        async with connected(self._pool) as connection, connection.transaction():
            freed = await queue.free_expired(connection, self._settings.run_attempts)
            if failed := [run["run_id"] for run in freed if run["status"] == RunStatus.ERROR]:
                await self._webhooks.store(connection, failed)
                if temporary := [run["thread_id"] for run in freed if run["run_id"] in failed and run["temporary"]]:
                    await queue.delete_threads(connection, temporary)
        for run in freed:
            logger.warning("the worker of run {} died at attempt {}", run["run_id"], run["attempt"])
            if run["status"] == RunStatus.ERROR:
                self._metrics.abandoned.inc()
                await self._announce(run, run["attempt"] + 1, b"error\n" + dumps({"__error__": run["error"]}))
            else:
                self._metrics.begun_again.labels(AGAIN_LOST).inc()

    async def _announce(self, run: Row, attempt: int, end: bytes) -> None:
        kept = self._settings.run_events_seconds
        await announce_end(self._redis, run["thread_id"], run["run_id"], attempt, end, kept)
