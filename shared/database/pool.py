"""A pool of the driver's own connections, for stages whose lock has `psycopg_pool`."""

import asyncio
from time import monotonic
from typing import Any, TypeVar

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from shared.database.driver import closed_by_server

C = TypeVar("C", bound=AsyncConnection[Any])

# A pool retries a failed connection with growing pauses, so after a long outage it would reconnect late. With this
# limit it gives up early, and the next request for a connection makes it try at once.
RECONNECT_SECONDS = 2.0


class ConnectionPool(AsyncConnectionPool[C]):
    """A pool that discards connections closed by the server.

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
