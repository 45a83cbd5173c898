"""Statements through the driver alone, for queries that run hundreds of times a second: runs, threads, checkpoints.

Elsewhere, SQLAlchemy is easier to read. Measured on the path of a run: 100 runs a second with the ORM, 154 with
SQLAlchemy Core, 180 with the driver.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Annotated, Any

import orjson
import psycopg
from fastapi import Depends
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb, set_json_dumps, set_json_loads

from project4_agent_api.core.serialization import dumps
from project4_agent_api.core.state import from_state
from project4_agent_api.settings import Settings
from shared.database.driver import DeadlineConnection, conninfo, prepare_threshold
from shared.database.errors import database_errors
from shared.database.migrate import RequiredRevisions
from shared.database.pool import RECONNECT_SECONDS, ConnectionPool
from shared.health import Check, Checks

_PROBE_SECONDS = 1.0
_MIGRATIONS_TTL_SECONDS = 10.0

Row = dict[str, Any]
Connection = AsyncConnection[Row]
Pool = ConnectionPool[Connection]
Parameters = Sequence[Any] | Mapping[str, Any]


def create_pool(settings: Settings) -> Pool:
    """Create a pool of driver connections without connecting. The caller opens and closes it."""

    async def configure(connection: Connection) -> None:
        set_json_dumps(dumps, connection)
        set_json_loads(orjson.loads, connection)
        if isinstance(connection, DeadlineConnection):
            connection.read_timeout = settings.db_statement_timeout_seconds + 1

    return ConnectionPool(
        conninfo(settings),
        connection_class=DeadlineConnection,
        kwargs={"autocommit": True, "row_factory": dict_row, "prepare_threshold": prepare_threshold(settings)},
        configure=configure,
        min_size=1,
        max_size=settings.db_pool_size,
        timeout=settings.db_pool_timeout_seconds,
        reconnect_timeout=RECONNECT_SECONDS,
        open=False,
        name="runs",
    )


class Migrations:
    """Readiness check of the database's migrations."""

    def __init__(self, connections: Pool, revisions: RequiredRevisions) -> None:
        self._connections = connections
        self._revisions = revisions
        self._cached_until = 0.0

    async def are_done(self) -> bool:
        """Return whether migrations are current (cached for 10 s; true if the database is unreachable)."""
        if monotonic() < self._cached_until:
            return True
        try:
            async with asyncio.timeout(_PROBE_SECONDS), self._connections.connection() as connection:
                cursor = await connection.execute("SELECT version_num FROM alembic_version")
                current = self._revisions.satisfied_by([row["version_num"] for row in await cursor.fetchall()])
        except psycopg.errors.UndefinedTable:
            return False
        except (psycopg.Error, OSError, TimeoutError):
            return True
        if current:
            self._cached_until = monotonic() + _MIGRATIONS_TTL_SECONDS
        return current


@asynccontextmanager
async def open_pool(settings: Settings, checks: Checks) -> AsyncIterator[Pool]:
    """Open the pool for the block, and register the check of migrations. The database may be unavailable."""
    connections = create_pool(settings)
    await connections.open(wait=False)
    migrations = Migrations(connections, await asyncio.to_thread(RequiredRevisions, "project4_agent_api", "project4"))
    checks.append(Check("migrations", migrations.are_done, failure="outdated"))
    try:
        yield connections
    finally:
        await connections.close()


@asynccontextmanager
async def connected(connections: Pool) -> AsyncIterator[Connection]:
    """Borrow a connection in autocommit mode.

    Raises:
        DatabaseUnavailable: if the database is unavailable or busy.
    """
    with database_errors():
        async with connections.connection() as connection:
            yield connection


def jsonb(encoded: bytes) -> Jsonb:
    """Return a parameter of JSON that is encoded already."""
    return Jsonb(encoded, dumps=bytes)


async def fetch_all(source: Pool | Connection, statement: str, parameters: Parameters = ()) -> list[Row]:
    """Execute one statement and return its rows.

    Args:
        source: A pool to borrow a connection from, or a connection, whose transaction the statement becomes part of.
        parameters: Values of the placeholders, by position or by name.

    Raises:
        DatabaseUnavailable: if `source` is a pool and the database is unavailable or busy.
    """
    if isinstance(source, ConnectionPool):
        async with connected(source) as connection:
            return await fetch_all(connection, statement, parameters)
    cursor = await source.execute(statement, parameters)
    return await cursor.fetchall()


async def fetch_one(source: Pool | Connection, statement: str, parameters: Parameters = ()) -> Row | None:
    """Execute one statement and return its first row, or None. See `fetch_all`."""
    if isinstance(source, ConnectionPool):
        async with connected(source) as connection:
            return await fetch_one(connection, statement, parameters)
    cursor = await source.execute(statement, parameters)
    return await cursor.fetchone()


async def execute(source: Pool | Connection, statement: str, parameters: Parameters = ()) -> int:
    """Execute one statement that returns no rows, and return how many rows it changed. See `fetch_all`."""
    if isinstance(source, ConnectionPool):
        async with connected(source) as connection:
            return await execute(connection, statement, parameters)
    cursor = await source.execute(statement, parameters)
    return cursor.rowcount


PoolDep = Annotated[Pool, Depends(from_state(ConnectionPool))]
