"""Pools of the bare driver's connections, beside SQLAlchemy's."""

import asyncio
from time import monotonic
from typing import Any, TypeVar

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from shared.database.engine import has_ended

C = TypeVar("C", bound=AsyncConnection[Any])

# How long a pool tries to connect by itself. It does so ever more rarely, and would be late by as long as the database
# was away; once it has given up, whoever wants a connection next makes it try at once.
RECONNECT_SECONDS = 2.0


class ConnectionPool(AsyncConnectionPool[C]):
    """A pool that gives no connection whose server has ended.

    With a `check` it would pause after each of them, for a second and then for two: when a server has been started
    again, whoever asks is refused as often as there were idle connections.
    """

    async def getconn(self, timeout: float | None = None) -> C:  # noqa: ASYNC109  the pool's own
        """Take a connection; see `AsyncConnectionPool`."""
        deadline = monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            connection = await super().getconn(deadline - monotonic())
            if not has_ended(connection):
                return connection
            await connection.close()  # or the pool, which sees nothing wrong with it, would give it away again
            await asyncio.shield(self.putconn(connection))
