"""psycopg, the driver under SQLAlchemy: addresses, and connections with a read timeout."""

import asyncio
import contextlib
import os
import select
import socket
from typing import Any, Protocol, TypeVar

from psycopg import AsyncConnection
from psycopg.abc import PQGen
from sqlalchemy import URL, make_url

T = TypeVar("T")

# Detect a host that disappeared within half a minute, even on connections that only listen. libpq ignores the options
# that the platform does not support, and all of them on a Unix socket.
_KEEPALIVE = {"keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3", "tcp_user_timeout": "30000"}


class DatabaseSettings(Protocol):
    """Settings of a database engine."""

    @property
    def database_url(self) -> str:
        """Address of the database."""

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


def sqlalchemy_url(address: str) -> URL:
    """Return a PostgreSQL address as a SQLAlchemy URL that selects psycopg."""
    return make_url(address).set(drivername="postgresql+psycopg")


def libpq_url(settings: DatabaseSettings) -> str:
    """Return the database's address for psycopg, with TCP keepalives. Options in the address take precedence."""
    url = sqlalchemy_url(settings.database_url).set(drivername="postgresql")
    return url.set(query={**_KEEPALIVE, **url.query}).render_as_string(hide_password=False)


class DeadlineConnection(AsyncConnection[Any]):
    """A connection that fails if the server does not answer within `read_timeout` seconds.

    `statement_timeout` ends slow statements on the server, but a frozen server enforces nothing, and its kernel keeps
    acknowledging packets, so TCP timeouts do not fire. The client therefore shuts down the socket, and the pending
    operation fails as if the server had disconnected.
    """

    read_timeout: float = 10

    async def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:  # noqa: ASYNC109
        """Run one driver operation; psycopg routes all of them through this method."""
        deadline = asyncio.get_running_loop().call_later(self.read_timeout, _shut_down, self.pgconn.socket)
        try:
            return await super().wait(gen, interval, timeout)
        finally:
            deadline.cancel()


def _shut_down(file_descriptor: int) -> None:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(file_descriptor)) as connection:
        connection.shutdown(socket.SHUT_RDWR)


def closed_by_server(connection: AsyncConnection[Any]) -> bool:
    """Return whether the server has closed an idle connection, without a round trip.

    A notice also makes the socket readable; such a connection is then replaced needlessly, but safely.
    """
    readable = select.poll()
    readable.register(connection.pgconn.socket, select.POLLIN)
    return bool(readable.poll(0))
