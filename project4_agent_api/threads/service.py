"""Threads: create, read, change, search, copy and delete them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import Depends
from uuid_utils.compat import uuid7

from project4_agent_api.core.bounded import Page
from project4_agent_api.core.postgres import Connection, Pool, Row, connected
from project4_agent_api.core.state import from_state
from project4_agent_api.core.storage import UNLIMITED, StorageQuota
from project4_agent_api.events import wakeups
from project4_agent_api.events.ids import LAST_ATTEMPT
from project4_agent_api.events.publisher import publish_end
from project4_agent_api.threads import repository
from project4_agent_api.threads.schemas import ThreadCreate, ThreadFilter, ThreadPatch, ThreadSearch
from project4_agent_api.threads.state import ThreadStates
from shared.errors import Conflict, NotFound
from shared.redis.client import RedisClient


@dataclass(frozen=True)
class Threads:
    """The threads of a service.

    Attributes:
        event_retention_seconds: How long the events of a finished run are kept.
    """

    pool: Pool
    states: ThreadStates
    redis: RedisClient
    event_retention_seconds: int
    quota: StorageQuota = UNLIMITED

    async def create(self, owner_id: UUID, body: ThreadCreate) -> Row:
        """Create a thread; with `if_exists="do_nothing"` return the existing one with the same id.

        Raises:
            Conflict: if the id is taken.
            NotFound: if the graph of the given history does not exist.
            InvalidRequest: if that graph does not accept the history.
            StorageQuotaExceeded: if the owner stores too much.
        """
        thread_id = body.thread_id or uuid7()
        row = await repository.insert_thread(self.pool, owner_id, thread_id, body, self.quota)
        if row is None:
            if body.if_exists == "do_nothing":
                try:
                    return await self.get(owner_id, thread_id)
                except NotFound:
                    pass  # another user's: reveal only that the id is taken
            raise Conflict("There is a thread with this id already.")
        if not body.supersteps:
            return row
        try:
            await self.states.store_history(owner_id, row, body.supersteps)
        except Exception:
            await self.delete(owner_id, thread_id)
            raise
        await self.states.refresh(owner_id, thread_id)
        return await self.get(owner_id, thread_id)

    async def get(self, owner_id: UUID, thread_id: UUID) -> Row:
        """Return a thread with encoded JSON.

        Raises:
            NotFound: if it does not exist, or belongs to another user.
        """
        return await repository.read_thread(self.pool, owner_id, thread_id)

    async def update(self, owner_id: UUID, thread_id: UUID, body: ThreadPatch) -> Row:
        """Change a thread's metadata or time to live.

        Raises:
            NotFound: if it does not exist, or belongs to another user.
            StorageQuotaExceeded: if the owner stores too much.
        """
        async with connected(self.pool) as connection, connection.transaction():
            await self.quota.require(connection, owner_id)
            return await repository.update_thread(connection, owner_id, thread_id, body)

    async def search(self, owner_id: UUID, search: ThreadSearch) -> Page[Row]:
        """Return a page of threads with encoded JSON, and one more if there is a next page."""
        async with connected(self.pool) as connection:
            return await repository.search_threads(connection, owner_id, search)

    async def count(self, owner_id: UUID, filter_: ThreadFilter) -> int:
        """Count threads."""
        return await repository.count_threads(self.pool, owner_id, filter_)

    async def copy(self, owner_id: UUID, thread_id: UUID) -> Row:
        """Create another thread with the same history.

        Raises:
            NotFound: if the thread does not exist, or belongs to another user.
            StorageQuotaExceeded: if the owner stores too much.
            Conflict: if the owner copies another thread at this moment.
        """
        async with connected(self.pool) as connection, connection.transaction():
            return await repository.copy_thread(connection, owner_id, thread_id, new_id=uuid7(), quota=self.quota)

    async def delete(self, owner_id: UUID, thread_id: UUID) -> None:
        """Delete a thread with its runs and checkpoints.

        Raises:
            NotFound: if it does not exist, or belongs to another user.
        """
        async with connected(self.pool) as connection:
            await repository.require_thread(connection, owner_id, thread_id)
            await self._delete(connection, [thread_id])

    async def delete_of_assistant(self, owner_id: UUID, assistant_id: UUID) -> None:
        """Delete the threads on which an assistant ran last, in batches. Those before an error stay deleted."""
        async with connected(self.pool) as connection:
            await self._delete(connection, await repository.find_of_assistant(connection, owner_id, assistant_id))

    async def delete_batch(self, owner_id: UUID, limit: int) -> int:
        """Delete at most `limit` of an owner's threads, and return how many were found."""
        async with connected(self.pool) as connection:
            thread_ids = await repository.find_of_owner(connection, owner_id, limit)
            await self._delete(connection, thread_ids)
        return len(thread_ids)

    async def prune(self, owner_id: UUID, thread_ids: Sequence[UUID], strategy: str) -> int:
        """Delete threads, or all of their checkpoints but the newest.

        Returns:
            How many of the threads belong to the owner. The others are not changed.
        """
        async with connected(self.pool) as connection:
            own_ids = await repository.filter_visible(connection, owner_id, thread_ids)
            if strategy == "delete":
                return await self._delete(connection, own_ids)
        await self.states.prune(own_ids)
        return len(own_ids)

    async def _delete(self, connection: Connection, thread_ids: Sequence[UUID]) -> int:
        batches = repository.delete_in_batches(thread_ids, partial(self._delete_in_transaction, connection))
        return sum([deleted async for deleted in batches])

    async def _delete_in_transaction(self, connection: Connection, thread_ids: Sequence[UUID]) -> int:
        """Delete threads, stop the workers that execute their runs, and end the streams of clients."""
        async with connection.transaction():
            # Runs before threads, the order in which a run is finished: the opposite order would deadlock with it.
            unfinished = await repository.lock_unfinished_runs(connection, thread_ids)
            deleted = await repository.delete_threads(connection, thread_ids)
        for run in unfinished:
            await wakeups.publish_stop(self.redis, run["run_id"], "interrupt")
            end = b"deleted\n{}"
            retention = self.event_retention_seconds
            await publish_end(self.redis, run["thread_id"], run["run_id"], LAST_ATTEMPT, end, retention)
        return deleted


ThreadsDep = Annotated[Threads, Depends(from_state(Threads))]
