"""Work that outlives its request: jobs in PostgreSQL, run by procrastinate.

A job is stored in the transaction of what it is about, so there is never one without the other. A worker takes it, and
another takes it again when that worker died. A task is a function
`async def task(context: JobContext, **arguments)`; the engine of an app is given all of them, by name. Jobs of one
queue do not wait for those of another. What a job is given stands in the log: an id, never a secret.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any

import procrastinate
from fastapi import Depends, Request
from loguru import logger
from procrastinate import BaseRetryStrategy, RetryDecision
from procrastinate.jobs import DEFAULT_QUEUE, DeleteJobCondition, Job
from psycopg import AsyncConnection
from sqlalchemy.ext.asyncio import AsyncSession

from shared.background import background_task
from shared.database.driver import RECONNECT_SECONDS, ConnectionPool, DatabaseSettings, libpq_url

_HEARTBEAT_SECONDS = 2.0
_DEAD_AFTER_SECONDS = 10.0  # without a heartbeat; the worker's jobs go to others
_BACK_OFF_SECONDS = 1.0


class RetryLater(Exception):
    """A job cannot go on now. It is run again after a while.

    Args:
        seconds: After which.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(f"in {seconds} s")
        self.seconds = seconds


class RetryStrategy(BaseRetryStrategy):
    """Runs a job again when it asks for it, and when its worker was told to stop."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """Say when a job that ended with an exception is run again; None for never."""
        del job
        match exception:
            case RetryLater():
                return RetryDecision(retry_in={"seconds": round(exception.seconds)})
            case asyncio.CancelledError():
                return RetryDecision(retry_in={"seconds": 0})
            case _:
                return None


Task = Callable[..., Coroutine[Any, Any, None]]


def create_job_app(tasks: Mapping[str, Task]) -> procrastinate.App:
    """Make the engine that runs some tasks, by name. Nothing is connected yet."""
    job_app = procrastinate.App(connector=procrastinate.PsycopgConnector())
    add_tasks(job_app, tasks)
    return job_app


def add_tasks(job_app: procrastinate.App, tasks: Mapping[str, Task], queue: str = DEFAULT_QUEUE) -> None:
    """Let an engine run some more tasks, by name; their jobs stand in a queue, to be worked on with `working`."""
    for name, task in tasks.items():
        job_app.task(name=name, pass_context=True, retry=RetryStrategy(), queue=queue)(task)


@asynccontextmanager
async def open_job_app(job_app: procrastinate.App, settings: DatabaseSettings) -> AsyncIterator[None]:
    """Connect the engine while the block runs. A database that is away is waited for in the background."""
    # A pool of our own, because the engine's own way of opening one fails without the database.
    pool: ConnectionPool[AsyncConnection[Any]] = ConnectionPool(
        libpq_url(settings),
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


async def defer(
    job_app: procrastinate.App,
    transaction: AsyncSession | AsyncConnection[Any],
    task: str,
    *,
    lock: str,
    delay_seconds: int = 0,
    **arguments: str,
) -> None:
    """Store a job in a transaction that is open.

    Args:
        job_app: The engine.
        within: Whose transaction: a session's, or one of the bare driver.
        task: Its name.
        lock: Of the jobs with one lock, one runs at a time.
        in_seconds: It is not run before that.
        arguments: Of the task.

    Raises:
        What the driver raises: whoever opened the transaction knows what that means.
    """
    connection: Any = transaction
    if isinstance(transaction, AsyncSession):
        connection = (await (await transaction.connection()).get_raw_connection()).driver_connection
    try:
        deferrer = job_app.configure_task(
            task, lock=lock, connection=connection, schedule_in={"seconds": delay_seconds} if delay_seconds else None
        )
        await deferrer.defer_async(**arguments)
    except procrastinate.exceptions.ConnectorException as error:
        raise (error.__cause__ or error) from None


@asynccontextmanager
async def run_worker(
    job_app: procrastinate.App, context: Mapping[str, Any], concurrency: int, queue: str = DEFAULT_QUEUE
) -> AsyncIterator[None]:
    """Run the jobs of a queue while the block runs; at its end those that run are put back.

    Args:
        job_app: An engine that is open.
        context: What the tasks find in `context.additional_context`.
        concurrency: Jobs at once.
        queue: Which one.
    """

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
                    stalled_worker_timeout=_DEAD_AFTER_SECONDS,
                    delete_jobs=DeleteJobCondition.ALWAYS,  # what became of it stands with what it was about
                )
                logger.warning("the worker stopped; it is started again")
            except Exception as error:  # noqa: BLE001  the database, mostly: there is nothing to do but to try again
                logger.warning("the worker cannot work: {}", type(error).__name__)
                if (task := asyncio.current_task()) and task.cancelling():
                    return  # it was told to stop, and could not even say so to the database
            await asyncio.sleep(_BACK_OFF_SECONDS)

    async with background_task(work()), background_task(_requeue_stalled_jobs(job_app, queue)):
        yield


async def _requeue_stalled_jobs(job_app: procrastinate.App, queue: str) -> None:
    """Put the jobs of workers that died back into the queue, now and whenever one may have died since."""
    manager = job_app.job_manager
    while True:
        with contextlib.suppress(procrastinate.exceptions.ConnectorException):
            for job in await manager.get_stalled_jobs(queue=queue, seconds_since_heartbeat=_DEAD_AFTER_SECONDS):
                logger.warning("a worker died at job {} ({}); it is taken up again", job.id, job.task_name)
                await manager.retry_job(job)
        await asyncio.sleep(_DEAD_AFTER_SECONDS / 2)


async def get_job_app(request: Request) -> procrastinate.App:
    """Return the engine of the app."""
    job_app: procrastinate.App = request.app.state.jobs
    return job_app


JobsDep = Annotated[procrastinate.App, Depends(get_job_app)]
