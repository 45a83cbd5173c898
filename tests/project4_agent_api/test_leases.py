"""Runs whose workers have said nothing for too long: each is taken back once, and not for ever."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from project4_agent_api.postgres import Connection, Row
from project4_agent_api.runs.queue import free_expired

MOST = 3

_THREAD = """
    INSERT INTO threads
        (thread_id, owner_id, status, metadata, config, interrupts, created_at, updated_at, state_updated_at)
    VALUES (%(thread_id)s, %(thread_id)s, 'busy', '{}', '{}', '{}', now(), now(), now())
"""
_RUN = """
    INSERT INTO runs (run_id, thread_id, assistant_id, owner_id, status, metadata, kwargs, multitask_strategy, attempt,
        failures, claim, lease_until, due_at, created_at, updated_at)
    VALUES (%(run_id)s, %(thread_id)s, %(run_id)s, %(thread_id)s, 'running', '{}', '{}', 'enqueue', 1, %(failures)s,
        gen_random_uuid(), now() + make_interval(secs => %(seconds)s), now(), now(), now())
"""


async def connect(address: str) -> Connection:
    connection: Any = await psycopg.AsyncConnection.connect(address, autocommit=True, row_factory=dict_row)
    return connection  # type: ignore[no-any-return]


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    async with await connect(database_url) as connection:
        yield connection


async def running(connection: Connection, *, seconds: float, failures: int = 0) -> UUID:
    """Store a run that is being executed, whose lease ends in some seconds; return its id."""
    given = {"thread_id": uuid4(), "run_id": uuid4(), "seconds": seconds, "failures": failures}
    await connection.execute(_THREAD, given)
    await connection.execute(_RUN, given)
    return given["run_id"]  # type: ignore[return-value]


async def row(connection: Connection, run_id: UUID) -> Row:
    cursor = await connection.execute(
        """
        SELECT runs.status, claim, lease_until, failures, runs.error ->> 'error' AS error, threads.status AS thread
        FROM runs JOIN threads USING (thread_id) WHERE run_id = %s
        """,
        [run_id],
    )
    found = await cursor.fetchone()
    assert found is not None
    return found


async def test_a_run_whose_lease_is_over_waits_again(connection: Connection) -> None:
    dead = await running(connection, seconds=-1)
    alive = await running(connection, seconds=60)

    freed = await free_expired(connection, MOST)

    assert [(one["run_id"], one["status"]) for one in freed] == [(dead, "pending")]
    assert await row(connection, dead) == {
        "status": "pending",
        "claim": None,
        "lease_until": None,
        "failures": 1,
        "error": None,
        "thread": "busy",
    }
    assert (await row(connection, alive))["status"] == "running"


async def test_after_too_many_workers_it_has_failed_and_its_thread_says_so(connection: Connection) -> None:
    unlucky = await running(connection, seconds=-1, failures=MOST - 1)

    freed = await free_expired(connection, MOST)

    assert [(one["run_id"], one["status"]) for one in freed] == [(unlucky, "error")]
    said = await row(connection, unlucky)
    assert (said["status"], said["error"], said["thread"]) == ("error", "WorkerLost", "error")


async def test_workers_that_look_at_once_take_each_run_back_once(connection: Connection, database_url: str) -> None:
    dead = {await running(connection, seconds=-1) for _ in range(20)}
    others = [await connect(database_url) for _ in range(4)]

    freed = await asyncio.gather(*(free_expired(other, MOST) for other in others))

    for other in others:
        await other.close()
    taken = [one["run_id"] for rows in freed for one in rows]
    assert len(taken) == len(set(taken))
    assert set(taken) == dead
