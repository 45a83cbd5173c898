"""PostgreSQL's LISTEN and NOTIFY: one connection per process, for any number of waiters."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg
from loguru import logger
from psycopg import sql
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from shared.background import background_task
from shared.database.driver import DatabaseSettings, PrimaryConnection, conninfo

_RECONNECT_SECONDS = 1.0
_CHECK_SECONDS = 10.0


class NotificationListener:
    """Listens on a channel, and wakes those who wait for a key.

    Args:
        channel: Name of the channel. The payload of a notification is a key.
    """

    def __init__(self, settings: DatabaseSettings, channel: str) -> None:
        self._settings = settings
        self._channel = channel
        self._subscribers: dict[str, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def subscribe(self, key: str) -> Iterator[asyncio.Event]:
        """Yield an event that is set by each notification of a key, and after an interruption of the connection.

        Clear the event, query the database, then wait for the event: in this order no change is missed.
        """
        event = asyncio.Event()
        self._subscribers[key].add(event)
        try:
            yield event
        finally:
            self._subscribers[key].discard(event)
            if not self._subscribers[key]:
                del self._subscribers[key]

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[None]:
        """Listen while the block runs, and reconnect when the connection breaks."""
        async with background_task(self._listen()):
            yield

    async def _listen(self) -> None:
        listening = True
        while True:
            try:
                address = conninfo(self._settings, session=True)
                async with await PrimaryConnection.connect(address, autocommit=True) as connection:
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
                    listening = True
                    for key in list(self._subscribers):  # notifications sent before LISTEN are lost
                        self._wake(key)
                    while True:
                        async for notification in connection.notifies(timeout=_CHECK_SECONDS):
                            self._wake(notification.payload)
                        await connection.execute("SELECT")  # fails if the server is not the primary any more
            except (psycopg.Error, OSError) as error:
                if listening:  # an outage is logged once
                    logger.warning(
                        "notifications of {} interrupted ({}); reconnecting", self._channel, type(error).__name__
                    )
                listening = False
            await asyncio.sleep(_RECONNECT_SECONDS)

    def _wake(self, key: str) -> None:
        for event in self._subscribers.get(key, ()):
            event.set()


async def notify(session: AsyncSession, channel: str, key: str) -> None:
    """Notify the subscribers of a key, in all processes, when the session's transaction is committed."""
    await session.execute(select(func.pg_notify(channel, key)))
