"""A pool of the driver's own connections, for stages whose lock has `psycopg_pool`."""

import asyncio
import logging
from time import monotonic
from typing import Any, TypeVar

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from shared.database.driver import PrimaryConnection, closed_by_server

C = TypeVar("C", bound=AsyncConnection[Any])

# A pool retries a failed connection with growing pauses, so after a long outage it would reconnect late. With this
# limit it gives up early, and the next request for a connection makes it try at once.
RECONNECT_SECONDS = 2.0
_OUTAGE_ENDS_SECONDS = 10.0  # after the last warning


class _OncePerOutage(logging.Filter):
    """Passes the first line of a pool's first warning in an outage.

    psycopg_pool logs each of its attempts to connect, a hundred in a failover, with the error of each server.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}  # the time of the last warning, by pool, or by text if it names no pool

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno != logging.WARNING:
            return True
        first = next(iter(record.args), None) if isinstance(record.args, tuple) else None
        source = first if isinstance(first, str) else str(record.msg)
        previous, self._last[source] = self._last.get(source), record.created
        record.msg, record.args = record.getMessage().partition("\n")[0], ()
        return previous is None or record.created - previous > _OUTAGE_ENDS_SECONDS


logging.getLogger("psycopg.pool").addFilter(_OncePerOutage())


class ConnectionPool(AsyncConnectionPool[C]):
    """A pool that discards connections closed by the server, and those whose buffers have become large.

    The pool's own `check` pauses one second after the first closed connection and two after the next, so after a
    restart of the server it would fail as many requests as it held idle connections.
    """

    async def getconn(self, timeout: float | None = None) -> C:  # noqa: ASYNC109  the signature of the base class
        """Return an open connection; see `AsyncConnectionPool.getconn`."""
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            connection = await super().getconn(deadline - monotonic())
            if not closed_by_server(connection):
                return connection
            await connection.close()  # otherwise the pool would consider it usable and hand it out again
            await asyncio.shield(self.putconn(connection))

    async def putconn(self, conn: C) -> None:
        """Return a connection; see `AsyncConnectionPool.putconn`."""
        if isinstance(conn, PrimaryConnection) and not conn.closed and conn.has_large_buffers():
            conn._expire_at = 0  # noqa: SLF001  so that the pool replaces it
        await super().putconn(conn)
