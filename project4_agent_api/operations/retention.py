"""What is kept only for a while is removed when that is over: in small batches, by one worker at a time.

Each worker looks once in a while, and whoever holds the lock sweeps. A thread that is used is never touched: its row is
locked, and it is looked at again under the lock. Events expire in Redis; jobs and webhooks go when they are done.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from time import time
from typing import Any
from uuid import UUID

from loguru import logger
from procrastinate import App

from project3_rag_docs import documents
from project4_agent_api.core.postgres import Connection, Pool, connected
from project4_agent_api.graphs.checkpointer.saver import CheckpointSaver
from project4_agent_api.settings import Settings
from project4_agent_api.threads import repository as threads
from shared.database.engine import Sessions, transaction
from shared.errors import DatabaseUnavailable, NotFound

_BATCH = 100
_SCAN_BATCH = 1000
_LOCK = 7_305_961_119  # one more than the one of the migrations


@dataclass(frozen=True)
class Retention:
    """Removes what is over.

    Attributes:
        settings: How long what is kept.
        pool: Of the database.
        sessions: Of the same, for documents.
        jobs: Removes the rows of documents.
        checkpoints: The states of threads.
    """

    settings: Settings
    pool: Pool
    sessions: Sessions
    jobs: App
    checkpoints: CheckpointSaver

    async def sweep(self) -> dict[str, int]:
        """Remove all that is over, unless another process is at it.

        Where the database has no time for one kind, the others are swept.

        Returns:
            How much of what was removed.

        Raises:
            DatabaseUnavailable: if the database is away. What was removed until then stays so.
        """
        removed = dict.fromkeys(("threads", "histories", "runs", "items", "uploads", "sign-ins", "keys"), 0)
        async with connected(self.pool) as lock, lock.transaction():
            cursor = await lock.execute("SELECT pg_try_advisory_xact_lock(%s) AS mine", [_LOCK])
            row = await cursor.fetchone()
            if not (row and row["mine"]):
                return removed
            for kind, some in (
                ("threads", self._expired_threads()),
                ("threads", self._old_threads()),
                ("histories", _repeat(self._history)),
                ("runs", _repeat(self._runs)),
                ("items", _repeat(self._items)),
                ("uploads", _repeat(self._uploads)),
                ("sign-ins", _repeat(self._sign_ins)),
                ("keys", _repeat(self._keys)),
            ):
                try:
                    async with aclosing(some):
                        async for gone in some:
                            removed[kind] += gone
                            await lock.execute("SELECT")  # or the server ends a transaction in which nothing happens
                except DatabaseUnavailable as error:
                    logger.warning("{} are not swept to the end: {}", kind, error.detail)
                    await lock.execute("SELECT")
        return removed

    async def _expired_threads(self) -> AsyncGenerator[int]:
        """Delete the threads whose time is over, with all that they hold."""
        expired = "expires_at < now() AND ttl_strategy = 'delete'"
        async with connected(self.pool) as connection:
            delete, found = partial(self._delete_threads, connection, expired), True
            while found:
                cursor = await connection.execute(
                    f"SELECT thread_id FROM threads WHERE {_IDLE} AND {expired} LIMIT %s",  # noqa: S608
                    [_BATCH],
                )
                thread_ids, found = [row["thread_id"] for row in await cursor.fetchall()], False
                async for gone in threads.in_small_batches(thread_ids, delete):
                    found = found or gone > 0
                    yield gone

    async def _old_threads(self) -> AsyncGenerator[int]:
        """Delete the threads that have not been used for long, with all that they hold.

        There is no index for it, which each run would have to write. All threads are looked at, some at once, but those
        whose ids tell that they are too new.
        """
        days = self.settings.thread_days
        if days is None:
            return
        old = "ttl_minutes IS NULL AND updated_at < now() - make_interval(days => %(days)s)"
        ranges = (UUID(int=0), _smallest_uuid7(-days)), (_smallest_uuid7(1), UUID(int=2**128 - 1))
        async with connected(self.pool) as connection:
            delete = partial(self._delete_threads, connection, old)
            for after, last in ranges:
                seen: UUID | None = after
                while seen:
                    cursor = await connection.execute(
                        f"""
                        SELECT thread_id, {old} AS over FROM threads
                        WHERE thread_id > %(seen)s AND thread_id <= %(last)s ORDER BY thread_id LIMIT %(limit)s
                        """,  # noqa: S608  no value in it
                        {"seen": seen, "last": last, "days": days, "limit": _SCAN_BATCH},
                    )
                    rows = await cursor.fetchall()
                    seen = rows[-1]["thread_id"] if rows else None
                    yield 0
                    thread_ids = [row["thread_id"] for row in rows if row["over"]]
                    async for gone in threads.in_small_batches(thread_ids, delete):
                        yield gone

    async def _delete_threads(self, connection: Connection, over: str, thread_ids: Sequence[UUID]) -> int:
        """Delete those of some threads that are still over, and that nobody has locked."""
        async with connection.transaction():
            cursor = await connection.execute(
                f"""
                SELECT thread_id FROM threads WHERE thread_id = ANY(%(ids)s) AND {_IDLE} AND {over}
                FOR UPDATE SKIP LOCKED
                """,  # noqa: S608  no value in it
                {"ids": list(thread_ids), "days": self.settings.thread_days},
            )
            return await threads.delete_threads(connection, [row["thread_id"] for row in await cursor.fetchall()])

    async def _history(self) -> int:
        """Delete all checkpoints of a thread but the newest. It expires again when it was used again."""
        async with connected(self.pool) as connection, connection.transaction():
            cursor = await connection.execute(
                f"""
                UPDATE threads SET expires_at = NULL WHERE thread_id = (
                    SELECT thread_id FROM threads
                    WHERE {_IDLE} AND expires_at < now() AND ttl_strategy = 'keep_latest'
                    LIMIT 1 FOR UPDATE SKIP LOCKED
                ) RETURNING thread_id
                """  # noqa: S608  no value in it
            )
            row = await cursor.fetchone()
            if row is None:
                return 0
            try:
                await self.checkpoints.aprune([str(row["thread_id"])], strategy="keep_latest")
            except NotImplementedError:
                logger.warning("thread {} keeps its history: its states build on earlier ones", row["thread_id"])
            return 1

    async def _runs(self) -> int:
        """Delete some runs that are over. Their threads stay as they are.

        The ids of runs are in the order of time, so that newer ones are not looked at.
        """
        if self.settings.run_days is None:
            return 0
        return await self._delete(
            """
            DELETE FROM runs WHERE run_id IN (
                SELECT run_id FROM runs WHERE run_id < %(newer)s AND status NOT IN ('pending', 'running')
                    AND updated_at < now() - make_interval(days => %(days)s)
                ORDER BY run_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
            )
            """,
            days=self.settings.run_days,
            newer=_smallest_uuid7(-self.settings.run_days),
        )

    async def _items(self) -> int:
        """Delete some items of the store."""
        return await self._delete("""
            DELETE FROM store WHERE (prefix, key) IN (
                SELECT prefix, key FROM store WHERE expires_at < now() LIMIT %(limit)s FOR UPDATE SKIP LOCKED
            )
        """)

    async def _sign_ins(self) -> int:
        """Delete some sign-ins that have expired: nobody may sign in for long, which forgets some too."""
        return await self._delete("""
            DELETE FROM sign_ins WHERE id IN (
                SELECT id FROM sign_ins WHERE expires_at < now()
                ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
            )
        """)

    async def _keys(self) -> int:
        """Delete some idempotency keys, with the answers that they keep."""
        return await self._delete(
            """
            DELETE FROM idempotency_keys WHERE id IN (
                SELECT id FROM idempotency_keys WHERE created_at < now() - make_interval(hours => %(hours)s)
                ORDER BY created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
            )
            """,
            hours=self.settings.idempotency_hours,
        )

    async def _delete(self, statement: str, **parameters: Any) -> int:
        async with connected(self.pool) as connection:
            cursor = await connection.execute(statement.encode(), {"limit": _BATCH, **parameters})
            return cursor.rowcount

    async def _uploads(self) -> int:
        """Delete some documents that could not be read."""
        async with connected(self.pool) as connection:
            cursor = await connection.execute(
                "SELECT id, owner_id FROM documents"
                " WHERE status = 'failed' AND created_at < now() - make_interval(days => %s) LIMIT %s",
                [self.settings.failed_upload_days, _BATCH],
            )
            failed = await cursor.fetchall()
        for row in failed:
            try:
                async with transaction(self.sessions) as session:
                    await documents.delete_document(self.jobs, session, row["owner_id"], row["id"])
            except NotFound:
                pass  # its owner was faster
        return len(failed)

    async def keep_sweeping(self) -> None:
        """Sweep, again and again."""
        while True:
            await asyncio.sleep(self.settings.sweep_seconds)
            try:
                removed = {kind: number for kind, number in (await self.sweep()).items() if number}
            except DatabaseUnavailable:
                continue
            except Exception as error:  # noqa: BLE001  the next time it may do
                logger.opt(exception=error).error("unexpected {}", type(error).__name__)
                continue
            if removed:
                logger.info("what was over is removed: {}", removed)


def _smallest_uuid7(days: int) -> UUID:
    """Return the least UUIDv7 of a moment so many days from now."""
    return UUID(int=max(0, int((time() + days * 86_400) * 1000)) << 80)


async def _repeat(some: Callable[[], Awaitable[int]]) -> AsyncGenerator[int]:
    """Remove some, again and again, until there are no more."""
    while gone := await some():
        yield gone


_IDLE = """
    status <> 'busy' AND NOT EXISTS (
        SELECT FROM runs WHERE runs.thread_id = threads.thread_id
            AND (runs.status = 'pending' OR runs.status = 'running')
    )
"""
