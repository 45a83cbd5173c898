"""The bare driver, for what is asked hundreds of times a second: runs, threads and checkpoints.

SQLAlchemy is for where people read; here a statement costs what it costs PostgreSQL. Measured for this run path: hot
rows by the ORM 100 runs a second, by SQLAlchemy Core 154, by the driver 180.
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
from psycopg.types.json import set_json_dumps, set_json_loads

from project4_agent_api.core.serialization import dumps
from project4_agent_api.core.state import from_state
from project4_agent_api.settings import Settings
from shared.database.driver import RECONNECT_SECONDS, ConnectionPool, DeadlineConnection, libpq_url
from shared.database.errors import database_errors
from shared.database.migrate import RequiredRevisions
from shared.health import Check, Checks

_PROBE_SECONDS = 1.0
_KNOWN_SECONDS = 10.0  # that the migrations were done

Row = dict[str, Any]
Connection = AsyncConnection[Row]
Pool = ConnectionPool[Connection]
Parameters = Sequence[Any] | Mapping[str, Any]


def create_pool(settings: Settings) -> Pool:
    """Make a pool of the bare driver's connections, to be opened and closed. Nothing is connected yet."""
    milliseconds = round(settings.db_statement_timeout_seconds * 1000)

    async def configure(connection: Connection) -> None:
        set_json_dumps(dumps, connection)
        set_json_loads(orjson.loads, connection)
        if isinstance(connection, DeadlineConnection):
            connection.read_timeout = settings.db_statement_timeout_seconds + 1

    return ConnectionPool(
        libpq_url(settings),
        connection_class=DeadlineConnection,
        kwargs={
            "autocommit": True,
            "row_factory": dict_row,
            "connect_timeout": settings.db_connect_timeout_seconds,
            "options": f"-c statement_timeout={milliseconds} -c idle_in_transaction_session_timeout={4 * milliseconds}",
            "application_name": "ai-backend-capstones",
        },
        configure=configure,
        min_size=1,
        max_size=settings.db_pool_size,
        timeout=settings.db_pool_timeout_seconds,
        reconnect_timeout=RECONNECT_SECONDS,
        open=False,
        name="runs",
    )


class Migrations:
    """Looks whether the database has the version that this code is for.

    Args:
        connections: To the database.
        versions: Those it should have.
    """

    def __init__(self, connections: Pool, versions: RequiredRevisions) -> None:
        self._connections = connections
        self._versions = versions
        self._known_until = 0.0

    async def are_done(self) -> bool:
        """Whether it has, or had some seconds ago; also where it cannot be asked, which another check says."""
        if monotonic() < self._known_until:
            return True
        try:
            async with asyncio.timeout(_PROBE_SECONDS), self._connections.connection() as connection:
                cursor = await connection.execute("SELECT version_num FROM alembic_version")
                reached = self._versions.satisfied_by([row["version_num"] for row in await cursor.fetchall()])
        except psycopg.errors.UndefinedTable:
            return False
        except (psycopg.Error, OSError, TimeoutError):
            return True
        if reached:
            self._known_until = monotonic() + _KNOWN_SECONDS
        return reached


@asynccontextmanager
async def open_pool(settings: Settings, checks: Checks) -> AsyncIterator[Pool]:
    """Open the pool while the block runs, and add the check of the migrations. The database need not be available."""
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
    """Borrow a connection, on which each statement is a transaction of its own.

    Raises:
        DatabaseUnavailable: if the database is away, or has no time.
    """
    with database_errors():
        async with connections.connection() as connection:
            yield connection


async def fetch_all(source: Pool | Connection, statement: str, parameters: Parameters = ()) -> list[Row]:
    """Execute one statement and return its rows.

    Args:
        source: A pool, of which a connection is borrowed for this statement; or a connection, inside whose
            transaction the statement is executed.
        statement: The whole statement, without values.
        parameters: Its values, by position or by name.

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
