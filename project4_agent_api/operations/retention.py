"""Retention: delete expired data in small batches, in one worker at a time.

Each worker tries periodically, and the one that gets an advisory lock sweeps. A thread in use is never deleted: its
condition is checked again after its row was locked. Events expire in Redis; jobs and webhooks are deleted when done.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial
from time import time
from typing import Any
from uuid import UUID

from loguru import logger
from procrastinate import App

from project3_rag_docs import documents, versions
from project4_agent_api.core.postgres import Connection, Pool, connected, execute, fetch_all, fetch_one
from project4_agent_api.graphs.checkpointer.saver import CheckpointSaver
from project4_agent_api.operations.measurement import ThreadMeasurement
from project4_agent_api.settings import Settings
from project4_agent_api.threads import repository as threads
from shared.database.engine import Sessions, transaction
from shared.errors import DatabaseUnavailable, NotFound

_BATCH = 100
_SCAN_BATCH = 1000
_LOCK = 7_305_961_119  # the lock of migrations is one less


@dataclass(frozen=True)
class Retention:
    """Deletes expired data."""

    settings: Settings
    pool: Pool
    sessions: Sessions
    jobs: App
    checkpoints: CheckpointSaver
    measured: ThreadMeasurement = field(default_factory=ThreadMeasurement)

    async def sweep(self) -> dict[str, int]:
        """Delete all expired data, unless another process is sweeping, and return the deleted amount of each kind.

        Also correct the counted bytes of some threads.

        If a statement of one kind times out, the other kinds are swept.

        Raises:
            DatabaseUnavailable: if the database is unavailable. Deletions before the error are kept.
        """
        hours = self.settings.idempotency_hours
        deleted = dict.fromkeys(
            ("threads", "histories", "runs", "items", "uploads", "sign-ins", "grants", "clients", "keys", "miscounted"),
            0,
        )
        async with connected(self.pool) as lock, lock.transaction():
            row = await fetch_one(lock, "SELECT pg_try_advisory_xact_lock(%s) AS locked", [_LOCK])
            if not (row and row["locked"]):
                return deleted
            for kind, batches in (
                ("threads", self._delete_expired_threads()),
                ("threads", self._delete_old_threads()),
                ("histories", _until_zero(self._prune_history)),
                ("runs", _until_zero(self._delete_runs)),
                ("items", _until_zero(partial(self._delete, _DELETE_ITEMS))),
                ("uploads", _until_zero(self._delete_failed_uploads)),
                ("sign-ins", _until_zero(partial(self._delete, _DELETE_SIGN_INS))),
                ("grants", _until_zero(partial(self._delete, _DELETE_GRANTS))),
                ("clients", _until_zero(partial(self._delete, _DELETE_CLIENTS))),
                ("keys", _until_zero(partial(self._delete, _DELETE_IDEMPOTENCY_KEYS, hours=hours))),
                ("miscounted", self.measured.correct(self.pool)),
            ):
                try:
                    async with aclosing(batches):
                        async for amount in batches:
                            deleted[kind] += amount
                            await _keep_alive(lock)
                except DatabaseUnavailable as error:
                    logger.warning("retention of {} was interrupted and will continue later: {}", kind, error.detail)
                    await _keep_alive(lock)
        return deleted

    async def _delete_expired_threads(self) -> AsyncGenerator[int]:
        """Delete threads whose `ttl` has expired, with all their data."""
        expired = "expires_at < now() AND ttl_strategy = 'delete'"
        statement = f"SELECT thread_id FROM threads WHERE {_IDLE} AND {expired} LIMIT %s"  # noqa: S608  constants
        async with connected(self.pool) as connection:
            delete, progress = partial(self._delete_threads, connection, expired), True
            while progress:
                thread_ids = [row["thread_id"] for row in await fetch_all(connection, statement, [_BATCH])]
                progress = False
                async for amount in threads.delete_in_batches(thread_ids, delete):
                    progress = progress or amount > 0
                    yield amount

    async def _delete_old_threads(self) -> AsyncGenerator[int]:
        """Delete threads that have not been used for THREAD_DAYS, with all their data.

        There is no index on `updated_at`, because each run would have to write it. The table is scanned in batches,
        without the ids that are too new.
        """
        days = self.settings.thread_days
        if days is None:
            return
        old = "ttl_minutes IS NULL AND updated_at < now() - make_interval(days => %(days)s)"
        statement = f"""
            SELECT thread_id, {old} AS old FROM threads
            WHERE thread_id > %(after)s AND thread_id <= %(last)s ORDER BY thread_id LIMIT %(limit)s
        """  # noqa: S608  constants
        # Clients may choose ids, so ids from the future are scanned too.
        ranges = (UUID(int=0), _smallest_uuid7(-days)), (_smallest_uuid7(1), UUID(int=2**128 - 1))
        async with connected(self.pool) as connection:
            delete = partial(self._delete_threads, connection, old)
            for first, last in ranges:
                after: UUID | None = first
                while after:
                    parameters = {"after": after, "last": last, "days": days, "limit": _SCAN_BATCH}
                    rows = await fetch_all(connection, statement, parameters)
                    after = rows[-1]["thread_id"] if rows else None
                    yield 0
                    thread_ids = [row["thread_id"] for row in rows if row["old"]]
                    async for amount in threads.delete_in_batches(thread_ids, delete):
                        yield amount

    async def _delete_threads(self, connection: Connection, condition: str, thread_ids: Sequence[UUID]) -> int:
        """Delete those of the threads that still meet the condition and are not locked."""
        statement = f"""
            SELECT thread_id FROM threads WHERE thread_id = ANY(%(ids)s) AND {_IDLE} AND {condition}
            FOR UPDATE SKIP LOCKED
        """  # noqa: S608  constants
        async with connection.transaction():
            parameters = {"ids": list(thread_ids), "days": self.settings.thread_days}
            rows = await fetch_all(connection, statement, parameters)
            return await threads.delete_threads(connection, [row["thread_id"] for row in rows])

    async def _prune_history(self) -> int:
        """Delete all checkpoints of one expired thread except the newest. Its `ttl` starts again with its next use."""
        async with connected(self.pool) as connection, connection.transaction():
            row = await fetch_one(connection, _TAKE_EXPIRED_HISTORY)
            if row is None:
                return 0
            try:
                await self.checkpoints.aprune([str(row["thread_id"])], strategy="keep_latest")
            except NotImplementedError:
                logger.warning("thread {} keeps its history: its states build on earlier ones", row["thread_id"])
            return 1

    async def _delete_runs(self) -> int:
        """Delete a batch of old runs. Their threads keep their states."""
        days = self.settings.run_days
        if days is None:
            return 0
        return await self._delete(_DELETE_RUNS, days=days, newer=_smallest_uuid7(-days))

    async def _delete(self, statement: str, **parameters: Any) -> int:
        """Delete a batch of rows."""
        return await execute(self.pool, statement, {"limit": _BATCH, **parameters})

    async def _delete_failed_uploads(self) -> int:
        """Delete a batch of documents, and of versions that were to replace one, that could not be ingested."""
        rows = await fetch_all(self.pool, _SELECT_FAILED_UPLOADS, [self.settings.failed_upload_days, _BATCH])
        for row in rows:
            with suppress(NotFound):  # deleted by its owner in the meantime
                async with transaction(self.sessions) as session:
                    delete = versions.discard_new_version if row["replaces"] else documents.delete_document
                    await delete(self.jobs, session, row["owner_id"], row["public_id"])
        return len(rows)

    async def keep_sweeping(self) -> None:
        """Sweep periodically until cancelled."""
        while True:
            await asyncio.sleep(self.settings.sweep_seconds)
            try:
                deleted = {kind: amount for kind, amount in (await self.sweep()).items() if amount}
            except DatabaseUnavailable:
                continue
            except Exception as error:  # noqa: BLE001  the next attempt may succeed
                logger.opt(exception=error).error("unexpected {}", type(error).__name__)
                continue
            if deleted:
                logger.info("swept expired data: {}", deleted)


async def _keep_alive(lock: Connection) -> None:
    """Use the connection, because the server ends a transaction that is idle for too long."""
    await execute(lock, "SELECT")


def _smallest_uuid7(days: int) -> UUID:
    """Return the smallest UUIDv7 of a time, which is given in days from now."""
    return UUID(int=max(0, int((time() + days * 86_400) * 1000)) << 80)


async def _until_zero(delete_batch: Callable[[], Awaitable[int]]) -> AsyncGenerator[int]:
    """Delete batches until one is empty."""
    while amount := await delete_batch():
        yield amount


_IDLE = """
    status <> 'busy' AND NOT EXISTS (
        SELECT FROM runs WHERE runs.thread_id = threads.thread_id
            AND (runs.status = 'pending' OR runs.status = 'running')
    )
"""
_TAKE_EXPIRED_HISTORY = f"""
    UPDATE threads SET expires_at = NULL WHERE thread_id = (
        SELECT thread_id FROM threads
        WHERE {_IDLE} AND expires_at < now() AND ttl_strategy = 'keep_latest'
        LIMIT 1 FOR UPDATE SKIP LOCKED
    ) RETURNING thread_id
"""  # noqa: S608  constants
# Ids of runs are ordered by time, so the first condition skips the newer ones.
_DELETE_RUNS = """
    DELETE FROM runs WHERE run_id IN (
        SELECT run_id FROM runs WHERE run_id < %(newer)s AND status NOT IN ('pending', 'running')
            AND updated_at < now() - make_interval(days => %(days)s)
        ORDER BY run_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    )
"""
_DELETE_ITEMS = """
    DELETE FROM store WHERE (prefix, key) IN (
        SELECT prefix, key FROM store WHERE expires_at < now() LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    )
"""
# Signing in deletes some too, but may not happen for a long time.
_DELETE_SIGN_INS = """
    DELETE FROM sign_ins WHERE id IN (
        SELECT id FROM sign_ins WHERE expires_at < now()
        ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    )
"""
_DELETE_GRANTS = """
    DELETE FROM oauth_grants WHERE id IN (
        SELECT id FROM oauth_grants WHERE expires_at < now()
        ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    )
"""
_DELETE_CLIENTS = """
    DELETE FROM oauth_clients WHERE id IN (
        SELECT id FROM oauth_clients WHERE expires_at < now()
        ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    )
"""
_DELETE_IDEMPOTENCY_KEYS = """
    DELETE FROM idempotency_keys WHERE id IN (
        SELECT id FROM idempotency_keys WHERE created_at < now() - make_interval(hours => %(hours)s)
        ORDER BY created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    )
"""
_SELECT_FAILED_UPLOADS = """
    SELECT public_id, owner_id, replaces FROM documents
    WHERE status = 'failed' AND created_at < now() - make_interval(days => %s) LIMIT %s
"""
