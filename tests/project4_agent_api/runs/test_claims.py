"""Runs as rows: the rules of claims, and the fate of an expired one."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from project4_agent_api.core.postgres import Connection
from project4_agent_api.models import RunStatus, ThreadStatus
from project4_agent_api.runs.claims import Ending, claim_next, delete_checkpoints, delete_run, requeue_expired
from tests.support.stored_runs import LEASE, OWNER, claimed, connect, row, store

MOST = 3


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    async with await connect(database_url) as connection:
        yield connection


async def test_longest_waiting_run_is_claimed_under_a_lease(connection: Connection) -> None:
    second = await store(connection, "pending", due=-10)
    first = await store(connection, "pending", due=-20)
    await store(connection, "pending", due=60)
    await store(connection, "pending", owner_id=UUID(int=8))

    run = await claim_next(connection, OWNER, LEASE, 10)

    assert run is not None
    assert (run.key.run_id, run.attempt, run.more_due) == (first, 1, True)
    stored = await row(connection, first)
    assert (stored["status"], stored["claim"], stored["leased"]) == ("running", run.claim, True)
    assert await claimed(connection) == second
    assert await claimed(connection) is None


async def test_concurrency_is_one_per_thread_and_limited_per_user(connection: Connection) -> None:
    thread = uuid4()
    await store(connection, "running", thread_id=thread)
    await store(connection, "pending", thread_id=thread)
    other = await store(connection, "pending")

    assert await claimed(connection, most=1) is None
    assert await claimed(connection, most=3) == other
    assert await claimed(connection, most=3) is None


async def test_concurrent_workers_claim_each_run_once(connection: Connection, database_url: str) -> None:
    waiting = {await store(connection, "pending") for _ in range(12)}
    workers = [await connect(database_url) for _ in range(4)]

    async def work(worker: Connection) -> list[UUID]:
        mine = []
        while (run_id := await claimed(worker, most=100)) is not None:
            mine.append(run_id)
        return mine

    taken = [run_id for mine in await asyncio.gather(*map(work, workers)) for run_id in mine]

    for worker in workers:
        await worker.close()
    assert len(taken) == len(set(taken))
    assert set(taken) == waiting


async def test_run_with_an_expired_lease_is_requeued(connection: Connection) -> None:
    dead = await store(connection, "running", lease=-1)
    alive = await store(connection, "running")

    freed = await requeue_expired(connection, MOST)

    assert [(one["run_id"], one["status"]) for one in freed] == [(dead, "pending")]
    stored = await row(connection, dead)
    assert (stored["status"], stored["claim"], stored["failures"], stored["thread"]) == ("pending", None, 1, "busy")
    assert (await row(connection, alive))["status"] == "running"


async def test_run_fails_after_too_many_dead_workers(connection: Connection) -> None:
    unlucky = await store(connection, "running", lease=-1, failures=MOST - 1)

    freed = await requeue_expired(connection, MOST)

    assert [(one["run_id"], one["status"]) for one in freed] == [(unlucky, "error")]
    stored = await row(connection, unlucky)
    assert (stored["status"], stored["error"], stored["thread"]) == ("error", "WorkerLost", "error")


async def test_concurrent_workers_requeue_each_run_once(connection: Connection, database_url: str) -> None:
    dead = {await store(connection, "running", lease=-1) for _ in range(20)}
    workers = [await connect(database_url) for _ in range(4)]

    freed = await asyncio.gather(*(requeue_expired(worker, MOST) for worker in workers))

    for worker in workers:
        await worker.close()
    taken = [one["run_id"] for rows in freed for one in rows]
    assert len(taken) == len(set(taken))
    assert set(taken) == dead


async def test_rollback_is_completed_by_the_next_worker(connection: Connection) -> None:
    run_id = await store(connection, "running", lease=-1)
    await connection.execute("UPDATE runs SET cancel = 'rollback'")
    dead, before = (await row(connection, run_id))["claim"], Ending(RunStatus.INTERRUPTED, ThreadStatus.IDLE)
    assert await delete_checkpoints(connection, run_id, dead)

    await requeue_expired(connection, MOST)
    again = await claim_next(connection, OWNER, LEASE, 10)

    assert again is not None
    assert (again.key.run_id, again.stop_reason) == (run_id, "rollback")
    assert not await delete_run(connection, run_id, dead, before)
    assert await delete_checkpoints(connection, run_id, again.claim)
    assert await delete_run(connection, run_id, again.claim, before)
