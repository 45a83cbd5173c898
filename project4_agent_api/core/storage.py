"""Stored bytes of each user: counted by triggers, limited by `USER_STORAGE_MB`.

    statement that stores ──trigger──> stored_bytes_changes ──a worker, every two seconds──> stored_bytes

A change is a row of its own, written in the transaction that stores: no transaction waits for another one's count.
Threads have a column `stored_bytes`, to which the statements that store their runs and checkpoints add. Retention
measures threads again, because a worker that dies does not count the last of its bytes.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from project4_agent_api.core.postgres import Connection, Pool, connected, execute, fetch_all, fetch_one
from project4_agent_api.core.state import from_state
from shared.database.engine import SessionDep
from shared.errors import DatabaseUnavailable, Limit, StorageQuotaExceeded
from shared.owner import CurrentOwner

ROW_BYTES = 1024  # of a thread or a run without its content, with its share of the indexes
LIMIT_NAME = "user_storage_mb"

_SUM = "(SELECT coalesce(sum(bytes), 0)::bigint FROM {table} WHERE owner_id = {owner})"


def used_bytes(owner: str) -> str:
    """Return the SQL expression of the bytes that a user stores.

    Args:
        owner: The placeholder or column of the user's id.
    """
    return " + ".join(_SUM.format(table=table, owner=owner) for table in ("stored_bytes", "stored_bytes_changes"))


_SELECT_USED = f"SELECT {used_bytes('%(owner_id)s')} AS used"
_SELECT_USED_IN_SESSION = text(f"SELECT {used_bytes(':owner_id')}")
_SELECT_KINDS = """
    SELECT kind, sum(bytes)::bigint AS bytes FROM (
        SELECT kind, bytes FROM stored_bytes WHERE owner_id = %(owner_id)s
        UNION ALL SELECT kind, bytes FROM stored_bytes_changes WHERE owner_id = %(owner_id)s
    ) AS counted GROUP BY kind ORDER BY kind
"""
_INTERVAL_SECONDS = 2.0
_LOCK = 7_305_961_121
_BATCH = 20_000
_ADD_UP = """
    WITH taken AS (
        DELETE FROM stored_bytes_changes WHERE ctid = ANY(ARRAY(SELECT ctid FROM stored_bytes_changes LIMIT %s))
        RETURNING owner_id, kind, bytes
    ), added AS (
        INSERT INTO stored_bytes AS total (owner_id, kind, bytes)
        SELECT owner_id, kind, sum(bytes) FROM taken GROUP BY 1, 2 HAVING sum(bytes) <> 0
        ON CONFLICT (owner_id, kind) DO UPDATE SET bytes = total.bytes + excluded.bytes
    )
    SELECT count(*) AS count FROM taken
"""


@dataclass(frozen=True)
class StorageQuota:
    """The limit on one user's storage. Concurrent transactions do not see each other.

    Attributes:
        maximum: In bytes.
    """

    maximum: int

    async def require(self, source: Connection | Pool, owner_id: UUID, more: int = 0) -> int:
        """Check that a user may store more, in the transaction that stores it, and return how much is left then.

        Args:
            more: Bytes that are about to be stored, if they are known.

        Raises:
            StorageQuotaExceeded: if that exceeds the quota.
        """
        row = await fetch_one(source, _SELECT_USED, {"owner_id": owner_id})
        return self._left(row["used"] if row else 0, more)

    async def require_in_session(self, session: AsyncSession, owner_id: UUID, more: int = 0) -> None:
        """Do the same in the transaction of a session."""
        self._left(await session.scalar(_SELECT_USED_IN_SESSION, {"owner_id": owner_id}) or 0, more)

    def _left(self, used: int, more: int) -> int:
        if used + more >= self.maximum:
            raise StorageQuotaExceeded(Limit(LIMIT_NAME, self.maximum, used))
        return self.maximum - used - more


UNLIMITED = StorageQuota(2**62)


async def bytes_by_kind(source: Connection | Pool, owner_id: UUID) -> dict[str, int]:
    """Return the bytes that a user stores, by kind of data."""
    return {row["kind"]: row["bytes"] for row in await fetch_all(source, _SELECT_KINDS, {"owner_id": owner_id})}


async def add_up_changes(pool: Pool) -> None:
    """Add the recorded changes to the sums, unless another process is doing it."""
    taken = _BATCH
    while taken == _BATCH:
        async with connected(pool) as connection, connection.transaction():
            row = await fetch_one(connection, "SELECT pg_try_advisory_xact_lock(%s) AS locked", [_LOCK])
            if not (row and row["locked"]):
                return
            row = await fetch_one(connection, _ADD_UP, [_BATCH])
            taken = row["count"] if row else 0


async def keep_adding_up_changes(pool: Pool) -> None:
    """Add up the recorded changes every two seconds until cancelled."""
    while True:
        await asyncio.sleep(_INTERVAL_SECONDS)
        with contextlib.suppress(DatabaseUnavailable):
            await add_up_changes(pool)


async def forget_owner(connection: Connection, owner_id: UUID) -> None:
    """Delete the storage totals of a deleted user."""
    for table in ("stored_bytes", "stored_bytes_changes"):
        await execute(connection, f"DELETE FROM {table} WHERE owner_id = %s", [owner_id])  # noqa: S608  constants


async def require_storage(
    owner_id: CurrentOwner, session: SessionDep, quota: Annotated[StorageQuota, Depends(from_state(StorageQuota))]
) -> None:
    """Check, in the transaction of the route's session, that the caller may store more.

    Raises:
        StorageQuotaExceeded: if not.
    """
    await quota.require_in_session(session, owner_id)


RequireStorage = Depends(require_storage)
