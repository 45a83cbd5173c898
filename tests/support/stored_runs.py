"""Runs stored and claimed without the API."""

from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import dict_row

from project4_agent_api.core.postgres import Connection, Row
from project4_agent_api.runs.claims import claim_next

LEASE = 15


OWNER = UUID(int=7)


_THREAD = """
    INSERT INTO threads
        (thread_id, owner_id, status, metadata, config, interrupts, created_at, updated_at, state_updated_at)
    VALUES (%(thread_id)s, %(owner_id)s, 'busy', '{}', '{}', '{}', now(), now(), now())
    ON CONFLICT DO NOTHING
"""


_RUN = """
    INSERT INTO runs (run_id, thread_id, assistant_id, owner_id, status, metadata, kwargs, multitask_strategy, attempt,
        failures, claim, lease_until, due_at, created_at, updated_at)
    VALUES (%(run_id)s, %(thread_id)s, %(run_id)s, %(owner_id)s, %(status)s::text, '{}', '{}', 'enqueue', 0,
        %(failures)s,
        CASE WHEN %(status)s::text = 'running' THEN gen_random_uuid() END,
        CASE WHEN %(status)s::text = 'running' THEN now() + make_interval(secs => %(lease)s) END,
        now() + make_interval(secs => %(due)s), now(), now())
"""


async def connect(address: str) -> Connection:
    connection: Any = await psycopg.AsyncConnection.connect(address, autocommit=True, row_factory=dict_row)
    return connection  # type: ignore[no-any-return]  # the class of a row factory


async def store(connection: Connection, status: str, **changes: Any) -> UUID:
    """Store a run, due a minute ago, on a thread of its own unless another is named; return its id."""
    given = {"run_id": uuid4(), "thread_id": uuid4(), "owner_id": OWNER, "lease": 60, "due": -60, "failures": 0}
    given |= changes | {"status": status}
    await connection.execute(_THREAD, given)
    await connection.execute(_RUN, given)
    return given["run_id"]  # type: ignore[return-value]  # of a mapping of mixed values


async def row(connection: Connection, run_id: UUID) -> Row:
    cursor = await connection.execute(
        """
        SELECT runs.status, claim, lease_until > now() AS leased, attempt, failures, runs.error ->> 'error' AS error,
            threads.status AS thread
        FROM runs JOIN threads USING (thread_id) WHERE run_id = %s
        """,
        [run_id],
    )
    found = await cursor.fetchone()
    assert found is not None
    return found


async def claimed(connection: Connection, most: int = 10) -> UUID | None:
    run = await claim_next(connection, OWNER, LEASE, most)
    return run.key.run_id if run else None
