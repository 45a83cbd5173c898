"""psycopg, the driver under SQLAlchemy: connections to the writable server, with a read timeout."""

import asyncio
import contextlib
import os
import select
import socket
import struct
from contextvars import ContextVar
from time import perf_counter
from typing import Any, Protocol, Self, TypeVar

import psycopg
from psycopg import AsyncConnection
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from shared.database.address import connection_parameters, is_transaction_pooler
from shared.database.errors import has_lost_its_server

T = TypeVar("T")

# Detect a host that disappeared within half a minute, even on connections that only listen. libpq ignores the options
# that the platform does not support, and all of them on a Unix socket.
_KEEPALIVE = {"keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3", "tcp_user_timeout": "30000"}


class StatementTime:
    """Seconds that PostgreSQL has taken for the statements of a request."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def add(self, seconds: float) -> None:
        """Add the time of a statement."""
        self._seconds += seconds

    def take(self) -> float:
        """Return the seconds since the last call."""
        seconds, self._seconds = self._seconds, 0.0
        return seconds


statement_time: ContextVar[StatementTime | None] = ContextVar("statement_time", default=None)

_PREPARE_THRESHOLD = 5  # psycopg's default
_LARGE_TRANSFER_BYTES = 4 * 1024 * 1024
_TCP_COUNTERS = struct.Struct("@120xQQ")  # bytes acknowledged and received, in Linux's `struct tcp_info`
_last_primary: dict[str, tuple[str, int]] = {}  # host and port of the last connection, by address


class DatabaseSettings(Protocol):
    """Settings of a database engine."""

    @property
    def database_url(self) -> str:
        """Address of the database, or of a pooler in transaction mode."""

    @property
    def database_session_url(self) -> str | None:
        """Address of the database itself, if the other one is a pooler's."""

    @property
    def db_pool_size(self) -> int:
        """Maximum number of connections."""

    @property
    def db_pool_timeout_seconds(self) -> float:
        """Maximum wait for a free connection."""

    @property
    def db_connect_timeout_seconds(self) -> int:
        """Maximum time to open a connection."""

    @property
    def db_statement_timeout_seconds(self) -> float:
        """Maximum time of one statement."""


def conninfo(settings: DatabaseSettings, *, statement_timeout: float | None = None, session: bool = False) -> str:
    """Return libpq's connection string, with time limits and TCP keepalives. Those in the address take precedence.

    Args:
        settings: Addresses and limits.
        statement_timeout: Seconds, if other than `DB_STATEMENT_TIMEOUT_SECONDS`; needs a session.
        session: Whether the connection needs a session, as `LISTEN` does, and must not be one of a pooler.
    """
    session = session or statement_timeout is not None
    address = settings.database_session_url or settings.database_url if session else settings.database_url
    milliseconds = round((statement_timeout or settings.db_statement_timeout_seconds) * 1000)
    limits = f"-c statement_timeout={milliseconds} -c idle_in_transaction_session_timeout={4 * milliseconds}"
    given = connection_parameters(address)
    defaults = {
        **_KEEPALIVE,
        "connect_timeout": str(settings.db_connect_timeout_seconds),
        "application_name": "ai-backend-capstones",
    }
    if is_transaction_pooler(address):  # a pooler refuses options; the role has them
        return make_conninfo("", **(defaults | given))
    return make_conninfo("", **(defaults | given | {"options": f"{limits} {given.get('options', '')}".rstrip()}))


def prepare_threshold(settings: DatabaseSettings) -> int | None:
    """Return after how many executions psycopg prepares a statement: never on the changing servers of a pooler."""
    return None if is_transaction_pooler(settings.database_url) else _PREPARE_THRESHOLD


class PrimaryConnection(AsyncConnection[Any]):
    """A connection to the writable server of an address, which closes itself when the server is not writable any more.

    A pool would otherwise keep connections to a primary that was demoted while it ran: statements fail there, or read
    outdated rows. PostgreSQL 14 and newer report the change with the next statement; earlier ones only refuse to
    write.
    """

    _transferred = 0  # bytes, when they were last read

    @classmethod
    async def connect(cls, conninfo: str = "", **options: Any) -> Self:
        """Connect, first to the last primary: a server that is down can use up the time to connect."""
        connection = await super().connect(_with_last_primary_first(conninfo), **options)
        _last_primary[conninfo] = (connection.info.host, connection.info.port)
        return connection

    def has_large_buffers(self) -> bool:
        """Return whether more than 4 MiB have been transferred since the last call.

        libpq's buffers grow to the largest message, and keep that size until the connection is closed.
        """
        before, self._transferred = self._transferred, _transferred_bytes(self.pgconn.socket)
        return self._transferred - before > _LARGE_TRANSFER_BYTES

    async def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:  # noqa: ASYNC109  psycopg's signature
        """Run one driver operation; psycopg routes all of them through this method."""
        try:
            return await super().wait(gen, interval, timeout)
        except psycopg.Error as error:
            if has_lost_its_server(error):
                self.pgconn.finish()
            raise
        finally:
            if self.pgconn.transaction_status == TransactionStatus.IDLE and self._is_read_only():
                _shut_down(self.pgconn.socket)  # rows that were read can still be fetched

    def _is_read_only(self) -> bool:
        return b"on" in (
            self.pgconn.parameter_status(b"in_hot_standby"),
            self.pgconn.parameter_status(b"default_transaction_read_only"),
        )


def _with_last_primary_first(conninfo: str) -> str:
    last, parameters = _last_primary.get(conninfo), conninfo_to_dict(conninfo)
    hosts, ports = (str(parameters.get(name) or "").split(",") for name in ("host", "port"))
    if last is None or len(hosts) == 1 or parameters.get("hostaddr"):
        return conninfo
    servers = zip(hosts, ports * len(hosts) if len(ports) == 1 else ports, strict=True)
    ordered = sorted(servers, key=lambda server: (server[0], int(server[1] or 5432)) != last)
    host, port = (",".join(parts) for parts in zip(*ordered, strict=True))
    return make_conninfo(conninfo, host=host, port=port)


class DeadlineConnection(PrimaryConnection):
    """A connection that also fails if the server does not answer within `read_timeout` seconds.

    `statement_timeout` ends slow statements on the server, but a frozen server enforces nothing, and its kernel keeps
    acknowledging packets, so TCP timeouts do not fire. The client therefore shuts down the socket, and the pending
    operation fails as if the server had disconnected.
    """

    read_timeout: float = 10

    async def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:  # noqa: ASYNC109  psycopg's signature
        """Run one driver operation; psycopg routes all of them through this method."""
        deadline = asyncio.get_running_loop().call_later(self.read_timeout, _shut_down, self.pgconn.socket)
        started = perf_counter()
        try:
            result = await super().wait(gen, interval, timeout)
        finally:
            deadline.cancel()
        if total := statement_time.get():  # a failed connection costs the caller nothing
            total.add(perf_counter() - started)
        return result


def _shut_down(file_descriptor: int) -> None:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(file_descriptor)) as connection:
        connection.shutdown(socket.SHUT_RDWR)


def _transferred_bytes(file_descriptor: int) -> int:
    """Return how many bytes a TCP connection has sent and received; 0 where the system does not count them."""
    try:
        with socket.socket(fileno=os.dup(file_descriptor)) as connection:
            counters = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_COUNTERS.size)
        return sum(_TCP_COUNTERS.unpack(counters))
    except (AttributeError, OSError, struct.error):  # not Linux, a Unix socket, a closed connection
        return 0


def closed_by_server(connection: AsyncConnection[Any]) -> bool:
    """Return whether the server has closed an idle connection, or is read-only, without a round trip.

    A notice also makes the socket readable; such a connection is then replaced needlessly, but safely.
    """
    if connection.closed:
        return True
    readable = select.poll()
    readable.register(connection.pgconn.socket, select.POLLIN)
    return bool(readable.poll(0))
