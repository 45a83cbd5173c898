"""What is kept only for a while is removed when that is over: in small batches, by one worker at a time.

Each worker looks once in a while, and whoever holds the lock sweeps. A thread that is used is never touched: its row is
locked, and it is looked at again under the lock. Events expire in Redis; jobs and webhooks go when they are done.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from loguru import logger
from procrastinate import App

from project3_rag_docs import documents
from project4_agent_api.checkpoints import Checkpoints
from project4_agent_api.postgres import Pool, connected
from project4_agent_api.runs import queue
from project4_agent_api.settings import Settings
from shared.background import in_background
from shared.database import Sessions, transaction
from shared.errors import DatabaseUnavailable, NotFound

_AT_ONCE = 100
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
    checkpoints: Checkpoints

    async def sweep(self) -> dict[str, int]:
        """Remove all that is over, unless another process is at it.

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
                ("threads", self._threads),
                ("histories", self._history),
                ("runs", self._runs),
                ("items", self._items),
                ("uploads", self._uploads),
                ("sign-ins", self._sign_ins),
                ("keys", self._keys),
            ):
                while gone := await some():
                    removed[kind] += gone
                    await lock.execute("SELECT")  # or the server ends a transaction in which nothing happens
        return removed

    async def _threads(self) -> int:
        """Delete some threads with all that they hold."""
        over = "expires_at < now() AND ttl_strategy = 'delete'"
        if self.settings.thread_days is not None:  # only then: it reads the whole table
            over = f"({over}) OR (ttl_minutes IS NULL AND updated_at < now() - make_interval(days => %(days)s))"
        async with connected(self.pool) as connection, connection.transaction():
            cursor = await connection.execute(
                f"SELECT thread_id FROM threads WHERE {_NOT_USED} AND ({over})"  # noqa: S608  no value in it
                " LIMIT %(limit)s FOR UPDATE SKIP LOCKED",
                {"days": self.settings.thread_days, "limit": _AT_ONCE},
            )
            return await queue.delete_threads(connection, [row["thread_id"] for row in await cursor.fetchall()])

    async def _history(self) -> int:
        """Delete all checkpoints of a thread but the newest. It expires again when it was used again."""
        async with connected(self.pool) as connection, connection.transaction():
            cursor = await connection.execute(
                f"""
                UPDATE threads SET expires_at = NULL WHERE thread_id = (
                    SELECT thread_id FROM threads
                    WHERE {_NOT_USED} AND expires_at < now() AND ttl_strategy = 'keep_latest'
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
        """Delete some runs that are over. Their threads stay as they are."""
        if self.settings.run_days is None:
            return 0
        return await self._delete(
            """
            DELETE FROM runs WHERE run_id IN (
                SELECT run_id FROM runs WHERE status NOT IN ('pending', 'running')
                    AND updated_at < now() - make_interval(days => %(days)s)
                LIMIT %(limit)s FOR UPDATE SKIP LOCKED
            )
            """,
            days=self.settings.run_days,
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
            cursor = await connection.execute(statement.encode(), {"limit": _AT_ONCE, **parameters})
            return cursor.rowcount

    async def _uploads(self) -> int:
        """Delete some documents that could not be read."""
        async with connected(self.pool) as connection:
            cursor = await connection.execute(
                "SELECT id, owner_id FROM documents"
                " WHERE status = 'failed' AND created_at < now() - make_interval(days => %s) LIMIT %s",
                [self.settings.failed_upload_days, _AT_ONCE],
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


_NOT_USED = """
    status <> 'busy' AND NOT EXISTS (
        SELECT FROM runs WHERE runs.thread_id = threads.thread_id AND runs.status IN ('pending', 'running')
    )
"""


@asynccontextmanager
async def retention(app: FastAPI) -> AsyncIterator[None]:
    """Sweep in this process, when it is its turn."""
    state = app.state
    sweeper = Retention(state.settings, state.pool, state.sessions, state.jobs, state.checkpoints)
    async with in_background(sweeper.keep_sweeping()):
        yield
