"""Background jobs in PostgreSQL, run by procrastinate.

A job is stored in the same transaction as the data it works on, so neither exists without the other. A worker claims
the job; if that worker dies, another one runs the job again. A task is a function
`async def task(context: JobContext, **arguments)`, registered by name. Queues are worked on independently. The
arguments of jobs are logged, so they are ids, never secrets.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import procrastinate
import psycopg
from fastapi import Depends, Request
from loguru import logger
from procrastinate import BaseRetryStrategy, RetryDecision
from procrastinate.jobs import DEFAULT_QUEUE, DeleteJobCondition, Job
from procrastinate.manager import JobManager
from psycopg import AsyncConnection
from psycopg.rows import tuple_row
from sqlalchemy.ext.asyncio import AsyncSession

from shared.background import background_task
from shared.database.driver import DatabaseSettings, PrimaryConnection, conninfo
from shared.database.errors import unavailable
from shared.database.pool import RECONNECT_SECONDS, ConnectionPool

_HEARTBEAT_SECONDS = 2.0
_STALLED_SECONDS = 10.0  # without a heartbeat: the worker has died, and its jobs are requeued
_RESTART_SECONDS = 1.0


class RetryLater(Exception):
    """Raised by a task to be run again after some seconds.

    Args:
        lock: The job's lock from now on. A job that waits for its next attempt blocks the other jobs with its lock.
    """

    def __init__(self, seconds: float, *, lock: str | None = None) -> None:
        super().__init__(f"in {seconds} s")
        self.seconds = seconds
        self.lock = lock


class RetryStrategy(BaseRetryStrategy):
    """Retries jobs that raise `RetryLater`, or that are cancelled by the shutdown of their worker."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Return when to run a failed job again, or None."""
        del job
        match exception:
            case RetryLater():
                return RetryDecision(retry_in={"seconds": round(exception.seconds)}, lock=exception.lock)
            case asyncio.CancelledError():
                return RetryDecision(retry_in={"seconds": 0})
            case _:
                return None


class PatientJobManager(JobManager):
    """procrastinate's job manager, made to wait for a database that is unavailable.

    With the first error, procrastinate ends the heartbeats and notifications of a worker that goes on, whose jobs are
    then requeued while it runs them; and it forgets a job whose outcome it cannot store.

    Attributes:
        stopping: Whether the process is about to end, and must not wait.
    """

    stopping = False

    async def update_heartbeat(self, worker_id: int) -> None:
        """Update the heartbeat of a worker, or leave it to the next time."""
        with _outages_ignored():
            await super().update_heartbeat(worker_id)

    async def listen_for_jobs(self, **arguments: Any) -> None:
        """Listen until cancelled."""
        while True:
            with _outages_ignored():
                await super().listen_for_jobs(**arguments)
            await asyncio.sleep(_RESTART_SECONDS)

    async def list_jobs_to_abort_async(self, *arguments: Any, **options: Any) -> Iterable[int]:
        """Return the ids of running jobs that are to be aborted; none during an outage."""
        try:
            return await super().list_jobs_to_abort_async(*arguments, **options)
        except procrastinate.exceptions.ConnectorException as error:
            if not _is_outage(error):
                raise
            return ()

    async def finish_job_by_id_async(self, *arguments: Any, **options: Any) -> None:
        """Store that a job has ended."""
        await self._until_stored(partial(super().finish_job_by_id_async, *arguments, **options))

    async def retry_job_by_id_async(self, *arguments: Any, **options: Any) -> None:
        """Store that a job is to be run again."""
        await self._until_stored(partial(super().retry_job_by_id_async, *arguments, **options))

    async def _until_stored(self, store: Callable[[], Awaitable[None]]) -> None:
        tried = False
        while True:
            try:
                return await store()
            except procrastinate.exceptions.ConnectorException as error:
                if tried and isinstance(error.__cause__, psycopg.errors.RaiseException):
                    return None  # the job is not running any more: the first attempt did store it
                if self.stopping or not _is_outage(error):
                    raise
            tried = True
            await asyncio.sleep(_RESTART_SECONDS)


def _is_outage(error: procrastinate.exceptions.ConnectorException) -> bool:
    return unavailable(error.__cause__ or error) is not None


@contextlib.contextmanager
def _outages_ignored() -> Iterator[None]:
    try:
        yield
    except procrastinate.exceptions.ConnectorException as error:
        if not _is_outage(error):
            raise


Task = Callable[..., Coroutine[Any, Any, None]]


def create_job_app(tasks: Mapping[str, Task]) -> procrastinate.App:
    """Create procrastinate's app with some tasks, without connecting."""
    job_app = procrastinate.App(connector=procrastinate.PsycopgConnector())
    job_app.job_manager = PatientJobManager(job_app.connector)
    add_tasks(job_app, tasks)
    return job_app


def add_tasks(job_app: procrastinate.App, tasks: Mapping[str, Task], queue: str = DEFAULT_QUEUE) -> None:
    """Register tasks, whose jobs `run_worker` runs for their queue."""
    for name, task in tasks.items():
        job_app.task(name=name, pass_context=True, retry=RetryStrategy(), queue=queue)(task)


@asynccontextmanager
async def open_job_app(job_app: procrastinate.App, settings: DatabaseSettings) -> AsyncIterator[None]:
    """Connect the app while the block runs. If the database is unavailable, the pool connects in the background."""
    # procrastinate would open its own pool, but fails if the database is unavailable at that moment.
    pool: ConnectionPool[PrimaryConnection] = ConnectionPool(
        conninfo(settings, session=True),  # procrastinate listens for notifications on copies of these
        connection_class=PrimaryConnection,
        min_size=1,
        max_size=4,
        open=False,
        timeout=3,
        reconnect_timeout=RECONNECT_SECONDS,
        name="jobs",
    )
    await pool.open(wait=False)
    try:
        await job_app.open_async(pool)
        yield
    finally:
        await pool.close()


@dataclass(frozen=True)
class Turn:
    """The turn of a job among those of other users with the same task.

    Attributes:
        user: Owner of the job.
        slots: Maximum jobs of one user that run at once, on all workers.
        cost: The work of the job, in any unit: small jobs come before large ones.
    """

    user: str
    slots: int
    cost: int

    async def take(self, connection: AsyncConnection[Any], task: str) -> tuple[str, int]:
        """Return the lock and the priority of the job.

        Each job has a time of an imaginary clock, at which it would end if all users were served at once, each with the
        same share: the user's last such time, or now, plus the cost. The clock shows the earliest time of a job that
        has not ended. So a user's second job waits for the first jobs of all others, and nobody waits forever.
        """
        locks = [f"{task} {self.user} {slot}" for slot in range(self.slots)]
        async with connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(_TIMES, {"task": task, "locks": locks})
            now, last, taken = await cursor.fetchone() or (0, 0, None)
        counts = Counter(taken or ())
        return min(locks, key=counts.__getitem__), -min(max(now, last) + self.cost, _LAST_TIME)


_LAST_TIME = 2**31 - 1
_TIMES = """
    SELECT coalesce(min(-priority), 0), coalesce(max(-priority) FILTER (WHERE lock = ANY(%(locks)s)), 0),
        array_agg(lock) FILTER (WHERE lock = ANY(%(locks)s))
    FROM procrastinate_jobs WHERE task_name = %(task)s AND status IN ('todo', 'doing')
"""


async def defer(
    job_app: procrastinate.App,
    transaction: AsyncSession | AsyncConnection[Any],
    task: str,
    *,
    lock: str | Turn,
    delay_seconds: int = 0,
    **arguments: str,
) -> None:
    """Store a job within an open transaction.

    Args:
        transaction: The session or the connection of the transaction.
        lock: Jobs with the same lock run one after another; or the turn of the job, which has a lock.
        delay_seconds: Minimum delay before the job runs.

    Raises:
        psycopg.Error: as raised by the driver, for the owner of the transaction to handle.
    """
    connection: Any = transaction
    if isinstance(transaction, AsyncSession):
        connection = (await (await transaction.connection()).get_raw_connection()).driver_connection
    lock, priority = await lock.take(connection, task) if isinstance(lock, Turn) else (lock, 0)
    try:
        deferrer = job_app.configure_task(
            task,
            lock=lock,
            priority=priority,
            connection=connection,
            schedule_in={"seconds": delay_seconds} if delay_seconds else None,
        )
        await deferrer.defer_async(**arguments)
    except procrastinate.exceptions.ConnectorException as error:
        raise (error.__cause__ or error) from None


@asynccontextmanager
async def run_worker(
    job_app: procrastinate.App, context: Mapping[str, Any], concurrency: int, queue: str = DEFAULT_QUEUE
) -> AsyncIterator[None]:
    """Run the jobs of a queue while the block runs. Unfinished jobs are requeued at the end."""

    async def work() -> None:
        while True:
            try:
                await job_app.run_worker_async(
                    queues=[queue],
                    concurrency=concurrency,
                    install_signal_handlers=False,
                    additional_context=dict(context),
                    shutdown_graceful_timeout=0,
                    update_heartbeat_interval=_HEARTBEAT_SECONDS,
                    stalled_worker_timeout=_STALLED_SECONDS,
                    delete_jobs=DeleteJobCondition.ALWAYS,  # the outcome is stored with the data of the job
                )
                logger.warning("job worker stopped; restarting")
            except Exception as error:  # noqa: BLE001  usually the database is unavailable, and a restart is the remedy
                logger.warning("job worker failed ({}); restarting", type(error).__name__)
                if (task := asyncio.current_task()) and task.cancelling():
                    return  # cancelled, but procrastinate could not unregister the worker
            await asyncio.sleep(_RESTART_SECONDS)

    async with background_task(work()), background_task(_requeue_stalled_jobs(job_app, queue)):
        try:
            yield
        finally:
            if isinstance(job_app.job_manager, PatientJobManager):
                job_app.job_manager.stopping = True


async def _requeue_stalled_jobs(job_app: procrastinate.App, queue: str) -> None:
    """Requeue the jobs of dead workers periodically."""
    manager = job_app.job_manager
    while True:
        with contextlib.suppress(procrastinate.exceptions.ConnectorException):
            for job in await manager.get_stalled_jobs(queue=queue, seconds_since_heartbeat=_STALLED_SECONDS):
                logger.warning("requeueing job {} ({}): its worker died", job.id, job.task_name)
                await manager.retry_job(job)
        await asyncio.sleep(_STALLED_SECONDS / 2)


async def get_job_app(request: Request) -> procrastinate.App:
    """Return procrastinate's app."""
    job_app: procrastinate.App = request.app.state.jobs
    return job_app


JobsDep = Annotated[procrastinate.App, Depends(get_job_app)]
