"""SQLAlchemy's async engine, its sessions, and the dependencies that give a request its session."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Annotated, Any

import psycopg
from fastapi import Depends, FastAPI, Request
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus
from sqlalchemy import event, text
from sqlalchemy.exc import DisconnectionError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import PoolResetState
from sqlmodel import SQLModel

from shared.database.driver import DatabaseSettings, DeadlineConnection, closed_by_server, conninfo, prepare_threshold
from shared.database.errors import database_errors, is_read_only
from shared.health import Check, Failure

Sessions = async_sessionmaker[AsyncSession]

_PROBE_SECONDS = 1.0
_LONG_IDLE_SECONDS = 30.0

# Named constraints can be recognized in an error, and dropped by a migration.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def create_engine(settings: DatabaseSettings, *, statement_timeout: float | None = None) -> AsyncEngine:
    """Create an engine without connecting. The caller disposes of it.

    Args:
        settings: Address and limits.
        statement_timeout: Seconds, if other than `DB_STATEMENT_TIMEOUT_SECONDS`.
    """
    address = conninfo(settings, statement_timeout=statement_timeout)
    seconds = statement_timeout or settings.db_statement_timeout_seconds
    threshold = prepare_threshold(settings)

    async def connect() -> DeadlineConnection:
        connection = await DeadlineConnection.connect(address, prepare_threshold=threshold)
        connection.read_timeout = seconds + 1
        return connection

    engine = create_async_engine(
        "postgresql+psycopg://",
        async_creator=connect,
        # BEGIN and COMMIT would add two round trips to a single statement; `create_session_factory` requests them.
        isolation_level="AUTOCOMMIT",
        pool_size=settings.db_pool_size,
        max_overflow=0,
        pool_timeout=settings.db_pool_timeout_seconds,
        pool_reset_on_return=None,  # `_reset` does it
        hide_parameters=True,  # error messages would contain e-mail addresses and password hashes
    )
    event.listen(engine.sync_engine, "checkout", _check)
    event.listen(engine.sync_engine.pool, "reset", _reset)
    event.listen(engine.sync_engine.pool, "checkin", _close_if_large)  # after the isolation level was set back
    return engine


def _check(connection: Any, record: Any, _proxy: object) -> None:  # noqa: ANN401  SQLAlchemy's signature
    """Check a pooled connection before use; the pool transparently replaces a broken one.

    After a restart of the server the sockets are readable, which is free to find out. `SELECT 1` is sent only on
    connections that were idle for long, which a firewall may have dropped: on every checkout it would double the time
    of a single statement. It also closes the connection if the server has become read-only.
    """
    driver: AsyncConnection[Any] = connection.driver_connection
    idle_since = record.info.get("idle_since")
    try:
        if idle_since is not None and monotonic() - idle_since > _LONG_IDLE_SECONDS and not closed_by_server(driver):
            cursor = connection.cursor()
            cursor.execute("SELECT 1")
            cursor.close()
    except psycopg.Error as error:
        raise DisconnectionError from error
    if closed_by_server(driver):
        raise DisconnectionError


def _reset(connection: Any, record: Any, state: PoolResetState) -> None:  # noqa: ANN401  SQLAlchemy's signature
    """Roll back a connection that is returned inside a transaction, which only happens after a failure."""
    driver: AsyncConnection[Any] = connection.driver_connection
    record.info["idle_since"] = monotonic()
    clean = driver.closed or driver.info.transaction_status == TransactionStatus.IDLE
    if not clean and not state.terminate_only:
        connection.rollback()


def _close_if_large(connection: Any, _record: object) -> None:  # noqa: ANN401  SQLAlchemy's signature
    """Close a returned connection whose buffers have become large; the next checkout replaces it."""
    driver: DeadlineConnection | None = connection and connection.driver_connection
    if driver and not driver.closed and driver.has_large_buffers():
        driver.pgconn.finish()


def create_session_factory(engine: AsyncEngine) -> Sessions:
    """Return a factory of sessions that run their statements in a transaction."""
    return async_sessionmaker(engine.execution_options(isolation_level="READ COMMITTED"), expire_on_commit=False)


@asynccontextmanager
async def database(app: FastAPI) -> AsyncIterator[None]:
    """Put the engine and the session factories on `app.state`, and register the readiness check."""
    engine = create_engine(app.state.settings)
    app.state.engine = engine
    app.state.sessions = create_session_factory(engine)
    app.state.reading = async_sessionmaker(engine, expire_on_commit=False)

    probes: list[asyncio.Task[bool | Failure]] = []

    async def is_writable() -> bool | Failure:
        # A probe goes on after its time: if a server does not answer, the connection to the next takes seconds, but is
        # then in the pool.
        if not probes:
            probes.append(asyncio.create_task(_is_writable(engine)))
            probes[0].add_done_callback(lambda _: probes.clear())
        (probe,) = probes
        await asyncio.wait(probes, timeout=_PROBE_SECONDS)
        return probe.done() and probe.result()

    app.state.checks.append(Check("database", is_writable))
    try:
        yield
    finally:
        for probe in probes:
            probe.cancel()
        await engine.dispose()


async def _is_writable(engine: AsyncEngine) -> bool | Failure:
    try:
        async with engine.connect() as connection:
            read_only = await connection.scalar(text("SHOW transaction_read_only"))
    except (SQLAlchemyError, psycopg.Error, OSError, TimeoutError) as error:
        return "read-only" if is_read_only(error) else False
    return "read-only" if read_only == "on" else True


@asynccontextmanager
async def transaction(sessions: Sessions) -> AsyncIterator[AsyncSession]:
    """Open a session as one unit of work: commit at the end of the block, roll back on an exception.

    Raises:
        DatabaseUnavailable: if the database is unreachable or overloaded.
    """
    with database_errors():
        async with sessions.begin() as session:
            yield session


@asynccontextmanager
async def read_session(sessions: Sessions) -> AsyncIterator[AsyncSession]:
    """Open a session in autocommit mode: each statement sees the latest state, and none can be rolled back.

    Raises:
        DatabaseUnavailable: if the database is unreachable or overloaded.
    """
    with database_errors():
        async with sessions() as session:
            yield session


async def get_sessions(request: Request) -> Sessions:
    """Return the app's session factory."""
    sessions: Sessions = request.app.state.sessions
    return sessions


SessionsDep = Annotated[Sessions, Depends(get_sessions)]


async def get_session(sessions: SessionsDep) -> AsyncIterator[AsyncSession]:
    """Yield the session of a request: one transaction."""
    async with transaction(sessions) as session:
        yield session


# scope="function" commits before the response is sent, so a response never reports a change whose commit failed.
SessionDep = Annotated[AsyncSession, Depends(get_session, scope="function")]


async def get_reading_session(request: Request) -> AsyncIterator[AsyncSession]:
    """Yield a session without a transaction."""
    async with read_session(request.app.state.reading) as session:
        yield session


# For requests that only read: without a transaction they take half the time.
ReadSessionDep = Annotated[AsyncSession, Depends(get_reading_session, scope="function")]
