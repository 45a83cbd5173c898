"""Jobs of users take turns: in which order they are started, and how many of one user at once."""

from collections.abc import AsyncIterator

import procrastinate
import psycopg
import pytest
from procrastinate import JobContext

from shared.jobs.queue import Turn, create_job_app, defer
from tests.support.databases import Databases


async def work(context: JobContext, name: str) -> None:
    del context, name


class Queue:
    """A queue whose jobs are started and ended one by one, as a worker would."""

    def __init__(self, app: procrastinate.App, connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        self.app = app
        self.connection = connection
        self.worker_id = 0
        self._started: dict[str, procrastinate.jobs.Job] = {}

    async def add(self, user: str, name: str, cost: int = 1, *, slots: int = 1) -> None:
        await defer(self.app, self.connection, "work", lock=Turn(user, slots, cost), name=name)

    async def start(self) -> str | None:
        """Start the next job, and return its name; None if none may start."""
        job = await self.app.job_manager.fetch_job(queues=None, worker_id=self.worker_id)
        if job is None:
            return None
        name = str(job.task_kwargs["name"])
        self._started[name] = job
        return name

    async def end(self, name: str) -> None:
        await self.app.job_manager.finish_job(
            self._started.pop(name), status=procrastinate.jobs.Status.SUCCEEDED, delete_job=True
        )

    async def run_all(self) -> list[str]:
        """Run all jobs, one after the other, and return their names in this order."""
        names = []
        while name := await self.start():
            names.append(name)
            await self.end(name)
        return names


@pytest.fixture
async def queue(databases: Databases) -> AsyncIterator[Queue]:
    with databases.migrated("project3_rag_docs") as url:
        app = create_job_app({"work": work})
        app.connector = app.job_manager.connector = procrastinate.PsycopgConnector(conninfo=url)
        async with app.open_async(), await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            queue = Queue(app, connection)
            queue.worker_id = await app.job_manager.register_worker()
            yield queue


async def test_quiet_user_is_next_however_much_a_loud_one_has_queued(queue: Queue) -> None:
    for number in range(100):
        await queue.add("loud", f"loud {number}", 12)
    first = await queue.start()
    await queue.add("quiet", "quiet")

    assert (first, await queue.start()) == ("loud 0", "quiet")


async def test_users_take_turns_by_the_work_of_their_jobs(queue: Queue) -> None:
    for number in range(3):
        await queue.add("a", f"a{number}", 10)
    for number in range(4):
        await queue.add("b", f"b{number}", 5)

    assert await queue.run_all() == ["a0", "b0", "a1", "b1", "b2", "a2", "b3"]


async def test_large_job_is_not_overtaken_forever(queue: Queue) -> None:
    await queue.add("large", "large", 20)
    started: list[str] = []
    for number in range(30):
        await queue.add("small", f"small {number}")
        name = await queue.start()
        assert name
        started.append(name)
        await queue.end(name)

    assert "large" in started


async def test_user_has_as_many_jobs_at_once_as_allowed(queue: Queue) -> None:
    for number in range(5):
        await queue.add("a", f"a{number}", slots=2)

    assert [await queue.start() for _ in range(3)] == ["a0", "a1", None]
    await queue.end("a0")
    await queue.add("a", "a5", slots=2)
    assert [await queue.start() for _ in range(2)] == ["a2", None]
