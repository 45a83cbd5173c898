"""Statements that delete threads together with their runs and checkpoints."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from uuid import UUID

from psycopg.errors import QueryCanceled

from project4_agent_api.core.postgres import Connection, execute, fetch_all, fetch_one
from shared.errors import NotFound

NO_SUCH_THREAD = "There is no thread with this id."

_BATCH_SIZE = 5  # threads that one statement deletes

# The rows of `runs` go with the threads: a foreign key says so.
_DELETE_THREADS = "DELETE FROM threads WHERE thread_id = ANY(%s) RETURNING thread_id::text"
_DELETE_CHECKPOINTS = """
    WITH states AS (DELETE FROM checkpoints WHERE thread_id = ANY(%(thread_ids)s)),
    blobs AS (DELETE FROM checkpoint_blobs WHERE thread_id = ANY(%(thread_ids)s))
    DELETE FROM checkpoint_writes WHERE thread_id = ANY(%(thread_ids)s)
"""
_DELETE_TEMPORARY_THREAD = """
    WITH deleted AS (
        DELETE FROM threads WHERE thread_id = %(thread_id)s
            AND EXISTS (SELECT FROM runs WHERE runs.thread_id = threads.thread_id AND claim = %(claim)s)
        RETURNING thread_id::text AS thread_id
    ), states AS (DELETE FROM checkpoints USING deleted WHERE checkpoints.thread_id = deleted.thread_id),
    blobs AS (DELETE FROM checkpoint_blobs USING deleted WHERE checkpoint_blobs.thread_id = deleted.thread_id),
    writes AS (DELETE FROM checkpoint_writes USING deleted WHERE checkpoint_writes.thread_id = deleted.thread_id)
    SELECT FROM deleted
"""
_THREAD_EXISTS = "SELECT FROM threads WHERE thread_id = %s AND owner_id = %s"


async def require_thread(connection: Connection, owner_id: UUID, thread_id: UUID) -> None:
    """Make sure that a thread exists and belongs to its owner.

    Raises:
        NotFound: if it does not.
    """
    if await fetch_one(connection, _THREAD_EXISTS, [thread_id, owner_id]) is None:
        raise NotFound(NO_SUCH_THREAD)


async def delete_threads(connection: Connection, thread_ids: Sequence[UUID]) -> int:
    """Delete threads with their runs and checkpoints, and return how many there were.

    Args:
        connection: In a transaction.
        thread_ids: The threads.
    """
    deleted = [row["thread_id"] for row in await fetch_all(connection, _DELETE_THREADS, [list(thread_ids)])]
    # A second statement, because the first one waited for what workers were writing and could not see it. Workers
    # write nothing more: their runs were deleted with the threads.
    await execute(connection, _DELETE_CHECKPOINTS, {"thread_ids": deleted})
    return len(deleted)


async def delete_temporary_thread(connection: Connection, thread_id: UUID, claim: UUID) -> bool:
    """Delete the thread of a run that was created for this run only and that writes nothing more.

    Returns:
        Whether the run still had this claim; otherwise nothing was deleted.
    """
    return await fetch_one(connection, _DELETE_TEMPORARY_THREAD, {"thread_id": thread_id, "claim": claim}) is not None


async def delete_in_batches(
    thread_ids: Sequence[UUID], delete: Callable[[Sequence[UUID]], Awaitable[int]]
) -> AsyncGenerator[int]:
    """Delete threads a few at a time, because all of them may exceed the statement timeout.

    Args:
        thread_ids: The threads.
        delete: Deletes a batch in one transaction, on a connection that stays borrowed, and returns how many there
            were.

    Yields:
        The number of threads that a batch deleted. They stay deleted if a later batch fails.

    Raises:
        QueryCanceled: if a single thread exceeds the statement timeout. A larger batch is halved and tried again.
    """
    done, size = 0, _BATCH_SIZE
    while batch := thread_ids[done : done + size]:
        try:
            deleted = await delete(batch)
        except QueryCanceled:
            if len(batch) == 1:
                raise
            size = len(batch) // 2
        else:
            done += len(batch)
            yield deleted
