"""PostgreSQL through async SQLAlchemy: the engine with its limits, sessions, and what a database that is away means."""

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from typing import Annotated, Any, Protocol, TypeVar

import psycopg
from fastapi import Depends, FastAPI, Request
from loguru import logger
from psycopg import AsyncConnection
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, event, make_url, text
from sqlalchemy.exc import DBAPIError, DisconnectionError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import PoolResetState
from sqlmodel import SQLModel

from shared.errors import DatabaseUnavailable
from shared.health import Check

Sessions = async_sessionmaker[AsyncSession]
T = TypeVar("T")

_PROBE_SECONDS = 1.0
_LONG_IDLE_SECONDS = 30.0
# A host that vanished without a word is noticed within half a minute, also by who only listens. libpq leaves out what
# the platform does not have, and all of it on a Unix socket.
_KEEPALIVE = {"keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3", "tcp_user_timeout": "30000"}

# A constraint that has a name can be told from others in an error, and dropped by a migration.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
# SQLSTATEs (https://www.postgresql.org/docs/current/errcodes-appendix.html) of what will pass: connection exceptions,
# transactions that gave way to another (a deadlock), insufficient resources, operator intervention.
_AWAY = ("08", "40", "53", "57")
_QUERY_CANCELED = "57014"


class DatabaseSettings(Protocol):
    """What the engine needs to be told."""

    @property
    def database_url(self) -> str:
        """Where the database is."""

    @property
    def db_pool_size(self) -> int:
        """Connections, at most."""

    @property
    def db_pool_timeout_seconds(self) -> float:
        """How long to wait for one of them."""

    @property
    def db_connect_timeout_seconds(self) -> int:
        """How long opening one may take."""

    @property
    def db_statement_timeout_seconds(self) -> float:
        """How long a statement may run."""


def driver_url(address: str) -> URL:
    """Return a PostgreSQL address as SQLAlchemy wants it, with this project's driver."""
    return make_url(address).set(drivername="postgresql+psycopg")


def plain_address(settings: DatabaseSettings) -> str:
    """Return the database's address as the driver itself wants it, with what notices that its host vanished.

    What the address says of that itself is left as it is.
    """
    url = driver_url(settings.database_url).set(drivername="postgresql")
    return url.set(query={**_KEEPALIVE, **url.query}).render_as_string(hide_password=False)


def create_engine(settings: DatabaseSettings, *, statement_seconds: float | None = None) -> AsyncEngine:
    """Make an engine, to be disposed of at the end. Nothing is connected yet.

    Args:
        settings: The address and the limits.
        statement_seconds: How long one statement may run, where that is not `DB_STATEMENT_TIMEOUT_SECONDS`.
    """
    address = plain_address(settings)
    seconds = statement_seconds or settings.db_statement_timeout_seconds
    milliseconds = round(seconds * 1000)

    async def connect() -> ImpatientConnection:
        connection = await ImpatientConnection.connect(
            address,
            connect_timeout=settings.db_connect_timeout_seconds,
            options=f"-c statement_timeout={milliseconds} -c idle_in_transaction_session_timeout={4 * milliseconds}",
            application_name="ai-backend-capstones",
        )
        connection.patience = seconds + 1
        return connection

    engine = create_async_engine(
        "postgresql+psycopg://",
        async_creator=connect,
        # A statement alone needs no BEGIN and COMMIT, which are two more round trips. `create_sessions` asks for them.
        isolation_level="AUTOCOMMIT",
        pool_size=settings.db_pool_size,
        max_overflow=0,
        pool_timeout=settings.db_pool_timeout_seconds,
        pool_reset_on_return=None,  # by `_reset`
        hide_parameters=True,  # an error's text would quote e-mails and password hashes
    )
    event.listen(engine.sync_engine, "checkout", _check)
    event.listen(engine.sync_engine.pool, "reset", _reset)
    return engine


def _check(connection: Any, record: Any, _proxy: object) -> None:  # noqa: ANN401  SQLAlchemy's own
    """Look at a connection before it is used: the pool replaces one that is broken, and nobody notices.

    A server that ended has closed its connections, which the sockets tell for nothing. Only one that was not used for
    long is asked, because a firewall may have forgotten it: asking each time is a round trip, and took as long as the
    statement that follows.
    """
    if has_ended(connection.driver_connection):
        raise DisconnectionError
    idle_since = record.info.get("idle_since")
    if idle_since is not None and monotonic() - idle_since > _LONG_IDLE_SECONDS:
        try:
            cursor = connection.cursor()
            cursor.execute("SELECT 1")
            cursor.close()
        except psycopg.Error as error:
            raise DisconnectionError from error


def has_ended(connection: AsyncConnection[Any]) -> bool:
    """Whether the server of a connection that nothing was asked of has closed it."""
    readable = select.poll()
    readable.register(connection.pgconn.socket, select.POLLIN)
    return bool(readable.poll(0))  # or it has sent a notice, and then a new one does as well


def _reset(connection: Any, record: Any, state: PoolResetState) -> None:  # noqa: ANN401  SQLAlchemy's own
    """End the transaction of a connection that comes back with one: it never does, unless something went wrong."""
    driver: AsyncConnection[Any] = connection.driver_connection
    record.info["idle_since"] = monotonic()
    if driver.info.transaction_status != TransactionStatus.IDLE and not state.terminate_only:
        connection.rollback()


def create_sessions(engine: AsyncEngine) -> Sessions:
    """Make what gives sessions with transactions."""
    return async_sessionmaker(engine.execution_options(isolation_level="READ COMMITTED"), expire_on_commit=False)


class ImpatientConnection(AsyncConnection[Any]):
    """A connection that gives a silent server up.

    The server cuts a statement that is too slow, but a server that is frozen cuts nothing, and its kernel goes on
    acknowledging: no time-out of TCP's helps. So the socket is shut down from this side, and what waits on it fails at
    once as if the server had gone.
    """

    patience: float = 10  # seconds

    async def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:  # noqa: ASYNC109
        """Run an operation of the driver's; every one goes through here."""
        give_up = asyncio.get_running_loop().call_later(self.patience, _shut_down, self.pgconn.socket)
        try:
            return await super().wait(gen, interval, timeout)
        finally:
            give_up.cancel()


def _shut_down(number: int) -> None:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(number)) as connection:
        connection.shutdown(socket.SHUT_RDWR)


@asynccontextmanager
async def database(app: FastAPI) -> AsyncIterator[None]:
    """Put the sessions of the app's database on `app.state`, and its check among the others."""
    engine = create_engine(app.state.settings)
    app.state.engine = engine
    app.state.sessions = create_sessions(engine)
    app.state.reading = async_sessionmaker(engine, expire_on_commit=False)

    async def answers() -> bool:
        try:
            async with asyncio.timeout(_PROBE_SECONDS), engine.connect() as connection:
                await connection.execute(text("SELECT 1"))
        except (SQLAlchemyError, psycopg.Error, OSError, TimeoutError):
            return False
        return True

    app.state.checks.append(Check("database", answers))
    try:
        yield
    finally:
        await engine.dispose()


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn what a database that is away, frozen or overloaded raises into a `ServiceError`; leave mistakes alone."""
    try:
        yield
    except PoolTimeoutError as error:
        raise DatabaseUnavailable("All connections are in use. Try again shortly.", retry_after=1) from error
    except (DBAPIError, psycopg.OperationalError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        state = getattr(cause, "sqlstate", None)
        if state == _QUERY_CANCELED:
            raise DatabaseUnavailable("The database took too long.") from error
        if isinstance(cause, psycopg.OperationalError) and (state is None or state[:2] in _AWAY):
            logger.warning("the database is away: {} {}", type(cause).__name__, state or "")
            raise DatabaseUnavailable("The database cannot be reached. Try again shortly.") from error
        raise


@asynccontextmanager
async def transaction(sessions: Sessions) -> AsyncIterator[AsyncSession]:
    """One unit of work: a session whose changes are committed together at the end of the block, or not at all.

    Raises:
        DatabaseUnavailable: if the database is away, or has no time.
    """
    with database_errors():
        async with sessions.begin() as session:
            yield session


@asynccontextmanager
async def reading(sessions: Sessions) -> AsyncIterator[AsyncSession]:
    """Give a session of the engine as it is: each statement sees the latest state, and none can be taken back.

    Raises:
        DatabaseUnavailable: if the database is away, or has no time.
    """
    with database_errors():
        async with sessions() as session:
            yield session


async def get_sessions(request: Request) -> Sessions:
    """Return what makes the app's sessions."""
    sessions: Sessions = request.app.state.sessions
    return sessions


SessionsDep = Annotated[Sessions, Depends(get_sessions)]


async def get_session(sessions: SessionsDep) -> AsyncIterator[AsyncSession]:
    """Give a request its one transaction."""
    async with transaction(sessions) as session:
        yield session


# "function": committed before the answer is sent, so that an answer never says what a failed commit has undone.
SessionDep = Annotated[AsyncSession, Depends(get_session, scope="function")]


async def get_reading_session(request: Request) -> AsyncIterator[AsyncSession]:
    """Give a request a session without a transaction around its statements."""
    async with reading(request.app.state.reading) as session:
        yield session


# For requests that only read: without a transaction around them they take half the time.
ReadSessionDep = Annotated[AsyncSession, Depends(get_reading_session, scope="function")]
