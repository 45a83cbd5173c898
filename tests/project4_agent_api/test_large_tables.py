"""Queries of large tables use their indexes, and large deletions take a few rows at a time."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID, uuid4

import httpx2
import psycopg
import pytest
from fastapi import FastAPI
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from uuid_utils.compat import uuid7

from project4_agent_api.app_state import AppState
from project4_agent_api.core.postgres import Pool
from project4_agent_api.core.state import find
from project4_agent_api.main import create_app
from project4_agent_api.operations.retention import Retention
from project4_agent_api.runs.replay import ThreadReplay
from project4_agent_api.runs.service import Runs
from project4_agent_api.settings import Settings
from project4_agent_api.steps.repository import LIST
from shared.errors import NotFound
from tests.project4_agent_api.conftest import SignUp
from tests.support.slow_deletes import no_time_for_more_than

OWNER, THREAD = uuid4(), uuid7()
FILL = """
    INSERT INTO runs (run_id, thread_id, assistant_id, owner_id, status, metadata, kwargs, multitask_strategy, attempt,
        due_at, started_at, created_at, updated_at)
    SELECT gen_random_uuid(), %(thread)s, %(owner)s, %(owner)s, 'success', '{}', '{}', 'enqueue', 1, at, at, at, at
    FROM (SELECT now() - number * interval '1 hour' AS at FROM generate_series(1, 20000) AS number) AS moments
"""


class Explained:
    """A pool of one connection, which remembers the plans of its statements."""

    def __init__(self, connection: AsyncConnection[dict[str, Any]]) -> None:
        self._connection = connection
        self.plan = ""

    @asynccontextmanager
    async def connection(self) -> AsyncIterator["Explained"]:
        yield self

    def transaction(self) -> AbstractAsyncContextManager[object]:
        return self._connection.transaction()

    async def execute(self, statement: str | bytes, parameters: object = None) -> Any:  # noqa: ANN401  psycopg's own
        text = statement.decode() if isinstance(statement, bytes) else statement
        explain = cast("Any", f"EXPLAIN {text}")
        cursor = await self._connection.execute(explain, cast("Any", parameters))
        self.plan += "\n".join(str(row["QUERY PLAN"]) for row in await cursor.fetchall()) + "\n"
        return await self._connection.execute(cast("Any", text), cast("Any", parameters))


@pytest.fixture
async def explained(database_url: str) -> AsyncIterator[Explained]:
    """The URL of a database with many finished runs, all on one thread."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        await connection.execute(
            "INSERT INTO threads (thread_id, owner_id, status, metadata, config, interrupts, created_at, updated_at,"
            " state_updated_at) VALUES (%s, %s, 'idle', '{}', '{}', '{}', now(), now(), now())",
            [THREAD, OWNER],
        )
        await connection.execute(FILL, {"thread": THREAD, "owner": OWNER})
        await connection.execute("ANALYZE runs")
        yield Explained(connection)


@pytest.fixture
async def app(make_settings4: Callable[..., Settings]) -> AsyncIterator[FastAPI]:
    app = create_app(make_settings4(run_days=5))
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
def runs(app: FastAPI, explained: Explained) -> Runs:
    every: Runs = find(app, Runs)
    return replace(every, pool=cast("Pool", explained))


@pytest.mark.parametrize("status", ["pending", "running", "all"])
async def test_unfinished_runs_are_found_by_an_index(runs: Runs, explained: Explained, status: str) -> None:
    with pytest.raises(NotFound):
        await runs.stop_with_status(OWNER, status, "interrupt")
    assert "on runs" in explained.plan
    assert "Seq Scan" not in explained.plan


async def test_runs_of_an_assistant_are_found_by_an_index(runs: Runs, explained: Explained) -> None:
    await runs.stop_runs_of_assistant(OWNER, OWNER)
    assert "on runs" in explained.plan
    assert "Seq Scan" not in explained.plan


async def test_runs_of_a_user_are_listed_by_an_index(explained: Explained) -> None:
    page = {"owner_id": OWNER, "status": None, "assistant_id": None, "limit": 21, "offset": 0}
    assert len(await (await explained.execute(LIST, page)).fetchall()) == 21
    assert "ix_runs_owner_id_created_at" in explained.plan
    assert "Sort" not in explained.plan


async def test_replay_reads_only_runs_with_events(runs: Runs, explained: Explained) -> None:
    replay = ThreadReplay(runs.pool, OWNER, THREAD, runs.kept_seconds)
    assert await replay.start() is None
    assert await replay.next_started(datetime.fromtimestamp(0, UTC), None) is None
    assert len(await replay.list_started()) == 1
    assert explained.plan.count("ix_runs_over") >= 3
    assert "Seq Scan" not in explained.plan


async def test_old_runs_are_found_by_an_index(app: FastAPI, explained: Explained) -> None:
    state = find(app, AppState)
    retention = Retention(state.settings, cast("Pool", explained), state.sessions, state.jobs, state.checkpoints)
    await retention._delete_runs()
    assert "Seq Scan on runs" not in explained.plan


@pytest.mark.parametrize("column", ["thread_id", "assistant_id"])
def test_crons_of_a_deleted_row_are_found_by_an_index(database_url: str, column: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("SET enable_seqscan = off")
        condition = f"{column} = '00000000-0000-0000-0000-000000000000'"
        rows = connection.execute(f"EXPLAIN DELETE FROM crons WHERE {condition}").fetchall()  # noqa: S608  a condition from this test
    assert f"ix_crons_{column}" in "\n".join(row[0] for row in rows)


async def test_many_threads_are_deleted_in_batches(
    client4: httpx2.AsyncClient, sign_up: SignUp, database_url: str
) -> None:
    client4.headers |= await sign_up()

    async def threads(**body: object) -> list[str]:
        made = [(await client4.post("/threads", json=body)).raise_for_status().json() for _ in range(7)]
        return [thread["thread_id"] for thread in made]

    async def left() -> int:
        count: int = (await client4.post("/threads/count", json={})).raise_for_status().json()
        return count

    asked = {"graph_id": "agent"}
    assistant = (await client4.post("/assistants", json=asked)).raise_for_status().json()["assistant_id"]
    of_assistant, others = await threads(metadata={"assistant_id": assistant}), await threads()
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as sql:
        await no_time_for_more_than(1, sql, too_large=UUID(others[-1]))
        body = {"thread_ids": others, "strategy": "delete"}
        assert (await client4.post("/threads/prune", json=body)).status_code == 503
        assert 8 <= await left() < 14
        await no_time_for_more_than(1, sql)
        assert (await client4.post("/threads/prune", json=body)).status_code == 200
        assert await left() == len(of_assistant)
        gone = await client4.delete(f"/assistants/{assistant}", params={"delete_threads": True})
        assert gone.status_code == 204
        assert await left() == 0
        await threads()
        assert (await client4.delete("/auth/me")).status_code == 204
        assert await (await sql.execute("SELECT count(*) FROM threads")).fetchone() == (0,)
