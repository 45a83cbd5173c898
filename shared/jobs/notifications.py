"""Being woken by PostgreSQL: one connection listens for the whole process, and wakes whoever waits for a key."""

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
from shared.database.driver import DatabaseSettings, libpq_url

_BACK_OFF_SECONDS = 1.0


class NotificationListener:
    """Who waits for which key of one channel.

    Args:
        settings: The database's.
        channel: PostgreSQL's name for it. A notification's payload is a key.
    """

    def __init__(self, settings: DatabaseSettings, channel: str) -> None:
        self._settings = settings
        self._channel = channel
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def subscribe(self, key: str) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever the key was notified, or when that may have been missed.

        Clear it, look at the database, then wait for it: in this order nothing is missed.
        """
        event = asyncio.Event()
        self._waiting[key].add(event)
        try:
            yield event
        finally:
            self._waiting[key].discard(event)
            if not self._waiting[key]:
                del self._waiting[key]

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[None]:
        """Listen while the block runs; a connection that broke is made again."""
        async with background_task(self._listen()):
            yield

    async def _listen(self) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    libpq_url(self._settings),
                    autocommit=True,
                    connect_timeout=self._settings.db_connect_timeout_seconds,
                ) as connection:
                    await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
                    for key in list(self._waiting):  # what was said while nobody listened is lost
                        self._wake(key)
                    async for notification in connection.notifies():
                        self._wake(notification.payload)
            except (psycopg.Error, OSError) as error:
                logger.warning("notifications of {} stopped: {}", self._channel, type(error).__name__)
            await asyncio.sleep(_BACK_OFF_SECONDS)

    def _wake(self, key: str) -> None:
        for event in self._waiting.get(key, ()):
            event.set()


async def notify(session: AsyncSession, channel: str, key: str) -> None:
    """Wake whoever waits for a key, in every process, when the session's transaction is committed."""
    await session.execute(select(func.pg_notify(channel, key)))
