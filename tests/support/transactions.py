"""Transactions that wait for each other."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from project4_agent_api.core.postgres import Connection

T = TypeVar("T")


async def value(connection: Connection, statement: str, *parameters: object) -> Any:  # noqa: ANN401  any type of the database
    cursor = await connection.execute(statement.encode(), parameters)
    row = await cursor.fetchone()
    assert row is not None
    return next(iter(row.values()))


_HELD_UP = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def waiting(first: Connection, second: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start an operation that has to wait for the first transaction; return when it waits."""
    task = asyncio.create_task(second)
    async with asyncio.timeout(120):
        while not (task.done() or await value(first, _HELD_UP)):  # noqa: ASYNC110  another process holds it up
            await asyncio.sleep(0.01)
    assert not task.done()
    return task
