"""The statements on threads, and on the rows that are copied and deleted with them."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from langgraph.types import StateSnapshot
from psycopg.errors import QueryCanceled
from psycopg.types.json import Jsonb

from project4_agent_api.core.bounded import Page, fetch_page
from project4_agent_api.core.postgres import Connection, Pool, Row, connected, execute, fetch_all, fetch_one, jsonb
from project4_agent_api.core.serialization import dumps
from project4_agent_api.core.storage import ROW_BYTES, StorageQuota, used_bytes
from project4_agent_api.core.visibility import visible_rows
from project4_agent_api.models import ThreadStatus
from project4_agent_api.threads.schemas import ThreadCreate, ThreadFilter, ThreadPatch, ThreadSearch, Ttl
from project4_agent_api.threads.snapshots import pending_interrupts
from shared.errors import Conflict, NotFound

NO_SUCH_THREAD = "There is no thread with this id."

_COLUMNS = (
    "thread_id, created_at, updated_at, state_updated_at, metadata, config, status, values, interrupts, error,"
    " ttl_strategy, ttl_minutes, expires_at"
)
_INSERT = f"""
    INSERT INTO threads (
        thread_id, owner_id, status, metadata, config, interrupts, ttl_strategy, ttl_minutes, expires_at,
        created_at, updated_at, state_updated_at, stored_bytes
    ) SELECT
        %(thread_id)s, %(owner_id)s, 'idle', %(metadata)s, '{{}}', '{{}}', %(strategy)s, %(minutes)s,
        now() + make_interval(secs => %(minutes)s::float8 * 60), now(), now(), now(), %(bytes)s
    WHERE {used_bytes("%(owner_id)s")} + %(bytes)s < %(max_bytes)s
    ON CONFLICT DO NOTHING RETURNING {_COLUMNS}
"""
_SELECT = f"SELECT {_COLUMNS} FROM threads WHERE thread_id = %s AND owner_id = %s"  # noqa: S608  constants
_EXISTS = "SELECT FROM threads WHERE thread_id = %s AND owner_id = %s"
_EXISTS_AT_ALL = "SELECT FROM threads WHERE thread_id = %s"
_SIZE = "SELECT stored_bytes FROM threads WHERE thread_id = %s AND owner_id = %s"
_LOCK_COPIES = "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 7)) AS locked"
_LOCK = "SELECT status FROM threads WHERE thread_id = %s FOR NO KEY UPDATE"
_UPDATE = f"""
    UPDATE threads SET metadata = metadata || %(metadata)s, updated_at = now(),
        stored_bytes = stored_bytes + %(bytes)s,
        ttl_strategy = coalesce(%(strategy)s, ttl_strategy),
        ttl_minutes = coalesce(%(minutes)s, ttl_minutes),
        expires_at = now() + make_interval(secs => coalesce(%(minutes)s, ttl_minutes) * 60)
    WHERE thread_id = %(thread_id)s AND owner_id = %(owner_id)s RETURNING {_COLUMNS}
"""  # noqa: S608  constants
_STORE_STATE = """
    UPDATE threads SET values = %(values)s::jsonb, interrupts = %(interrupts)s, updated_at = now(),
        state_updated_at = now(), error = NULL,
        status = CASE WHEN status = 'busy' THEN 'busy' WHEN %(has_next)s THEN 'interrupted' ELSE 'idle' END
    WHERE thread_id = %(thread_id)s
"""
_COPY = f"""
    INSERT INTO threads (
        thread_id, owner_id, status, metadata, config, values, interrupts, error, ttl_strategy, ttl_minutes,
        expires_at, created_at, updated_at, state_updated_at, stored_bytes
    )
    SELECT %(new_id)s, owner_id, CASE WHEN status = 'busy' THEN 'idle' ELSE status END, metadata, config,
        values, interrupts, error, ttl_strategy, ttl_minutes,
        now() + make_interval(secs => ttl_minutes * 60), now(), now(), now(), stored_bytes
    FROM threads WHERE thread_id = %(thread_id)s AND owner_id = %(owner_id)s
    RETURNING {_COLUMNS}
"""  # noqa: S608  constants
_COPY_CHECKPOINTS = [
    f"INSERT INTO {table} (thread_id, {columns})"  # noqa: S608  constants
    f" SELECT %(new_id)s::uuid::text, {columns} FROM {table} WHERE thread_id = %(thread_id)s::uuid::text"
    for table, columns in (
        ("checkpoints", "checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata"),
        ("checkpoint_blobs", "checkpoint_ns, channel, version, type, blob"),
        ("checkpoint_writes", "checkpoint_ns, checkpoint_id, task_id, idx, channel, type, blob, task_path"),
    )
]
_FIND_OF_OWNER = "SELECT thread_id FROM threads WHERE owner_id = %s LIMIT %s"

_BATCH_SIZE = 5  # threads that one statement deletes

_LOCK_UNFINISHED_RUNS = """
    SELECT run_id, thread_id FROM runs WHERE thread_id = ANY(%s) AND status IN ('pending', 'running')
    ORDER BY run_id FOR UPDATE
"""
# A foreign key deletes the runs with their threads.
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


async def insert_thread(
    pool: Pool, owner_id: UUID, thread_id: UUID, body: ThreadCreate, quota: StorageQuota
) -> Row | None:
    """Insert a thread, or return None if its id is taken.

    Raises:
        StorageQuotaExceeded: if its owner stores too much.
    """
    parameters = _parameters(owner_id, thread_id, body)
    size = ROW_BYTES + parameters["bytes"]
    row = await fetch_one(pool, _INSERT, parameters | {"bytes": size, "max_bytes": quota.maximum})
    if row is None and await fetch_one(pool, _EXISTS_AT_ALL, [thread_id]) is None:
        await quota.require(pool, owner_id, size)
    return row


async def get_thread(pool: Pool, owner_id: UUID, thread_id: UUID) -> Row:
    """Return a thread.

    Raises:
        NotFound: if it does not exist, or belongs to another user.
    """
    row = await fetch_one(pool, _SELECT, [thread_id, owner_id])
    if row is None:
        raise NotFound(NO_SUCH_THREAD)
    return row


async def read_thread(pool: Pool, owner_id: UUID, thread_id: UUID) -> Row:
    """Return a thread with encoded JSON.

    Raises:
        NotFound: if it does not exist, or belongs to another user.
    """
    async with connected(pool) as connection:
        rows = await fetch_page(connection, _SELECT, [thread_id, owner_id])
    if not rows:
        raise NotFound(NO_SUCH_THREAD)
    return rows[0]


async def require_thread(connection: Connection, owner_id: UUID, thread_id: UUID) -> None:
    """Check that a thread exists.

    Raises:
        NotFound: if it does not, or belongs to another user.
    """
    if await fetch_one(connection, _EXISTS, [thread_id, owner_id]) is None:
        raise NotFound(NO_SUCH_THREAD)


async def lock_idle_thread(connection: Connection, thread_id: UUID) -> None:
    """Lock a thread until the end of the transaction: deleting it, or storing a run on it, waits until then.

    Raises:
        NotFound: if it does not exist.
        Conflict: if it has an unfinished run.
    """
    row = await fetch_one(connection, _LOCK, [thread_id])
    if row is None:
        raise NotFound(NO_SUCH_THREAD)
    if row["status"] == ThreadStatus.BUSY:
        raise Conflict("The thread has an unfinished run.")


async def update_thread(connection: Connection, owner_id: UUID, thread_id: UUID, body: ThreadPatch) -> Row:
    """Change a thread's metadata and time to live, and return the thread.

    Raises:
        NotFound: if it does not exist, or belongs to another user.
    """
    row = await fetch_one(connection, _UPDATE, _parameters(owner_id, thread_id, body))
    if row is None:
        raise NotFound(NO_SUCH_THREAD)
    return row


def _parameters(owner_id: UUID, thread_id: UUID, body: ThreadCreate | ThreadPatch) -> dict[str, Any]:
    ttl: Ttl | None = body.ttl
    metadata = dumps(body.metadata or {})
    return {
        "bytes": len(metadata),
        "thread_id": thread_id,
        "owner_id": owner_id,
        "metadata": jsonb(metadata),
        "strategy": ttl.strategy if ttl else None,
        "minutes": ttl.ttl if ttl else None,
    }


SORT_COLUMNS = ("thread_id", "status", "created_at", "updated_at", "state_updated_at")


async def store_state(pool: Pool, thread_id: UUID, snapshot: StateSnapshot | None) -> None:
    """Store a state in the thread's row, where searches find it."""
    parameters = {
        "thread_id": thread_id,
        "values": dumps(snapshot.values).decode() if snapshot else None,
        "interrupts": Jsonb(pending_interrupts(snapshot) if snapshot else {}),
        "has_next": bool(snapshot and snapshot.next),
    }
    await execute(pool, _STORE_STATE, parameters)


async def search_threads(connection: Connection, owner_id: UUID, search: ThreadSearch) -> Page[Row]:
    """Return a page of threads with encoded JSON, and one more if there is a next page."""
    conditions, parameters = _conditions(owner_id, search)
    if search.ids is not None:
        conditions += " AND thread_id = ANY(%(ids)s)"
        parameters["ids"] = search.ids
    limit, offset = search.page()
    direction = "ASC" if search.sort_order == "asc" else "DESC"
    sort_by = search.sort_by if search.sort_by in SORT_COLUMNS else "created_at"
    return await fetch_page(
        connection,
        f"""
        SELECT {_COLUMNS} FROM threads WHERE {conditions}
        ORDER BY {sort_by} {direction}, thread_id {direction}
        LIMIT %(limit)s OFFSET %(offset)s
        """,  # noqa: S608  constants of this module
        parameters | {"limit": limit + 1, "offset": offset},
    )


async def count_threads(pool: Pool, owner_id: UUID, filter_: ThreadFilter) -> int:
    """Count the threads that a search would return."""
    conditions, parameters = _conditions(owner_id, filter_)
    row = await fetch_one(pool, f"SELECT count(*) FROM threads WHERE {conditions}", parameters)  # noqa: S608  conditions are constants of this module
    return row["count"] if row else 0


def _conditions(owner_id: UUID, filter_: ThreadFilter) -> tuple[str, dict[str, Any]]:
    conditions, parameters = visible_rows("threads", owner_id)
    for column in ("metadata", "values"):
        if contained := getattr(filter_, column):
            conditions += f" AND {column} @> %({column})s"
            parameters[column] = Jsonb(contained)
    if filter_.status is not None:
        conditions += " AND status = %(status)s"
        parameters["status"] = filter_.status
    return conditions, parameters


async def copy_thread(
    connection: Connection, owner_id: UUID, thread_id: UUID, *, new_id: UUID, quota: StorageQuota
) -> Row:
    """Copy a thread with its checkpoints, within a transaction, and return the copy.

    Raises:
        NotFound: if the thread does not exist, or belongs to another user.
        StorageQuotaExceeded: if its owner stores too much.
        Conflict: if its owner copies another thread at this moment. Copies that do not see each other could exceed the
            quota by as much as all of them.
    """
    lock = await fetch_one(connection, _LOCK_COPIES, [str(owner_id)])
    if not (lock and lock["locked"]):
        raise Conflict("Another thread of yours is being copied.", headers={"Retry-After": "1"})
    size = await fetch_one(connection, _SIZE, [thread_id, owner_id])
    await quota.require(connection, owner_id, size["stored_bytes"] if size else 0)
    parameters = {"thread_id": thread_id, "new_id": new_id, "owner_id": owner_id}
    row = await fetch_one(connection, _COPY, parameters)
    if row is None:
        raise NotFound(NO_SUCH_THREAD)
    for statement in _COPY_CHECKPOINTS:
        await execute(connection, statement, parameters)
    return row


async def find_of_assistant(connection: Connection, owner_id: UUID, assistant_id: UUID) -> list[UUID]:
    """Return the ids of the threads on which an assistant ran last."""
    condition, parameters = visible_rows("threads", owner_id)
    statement = f"SELECT thread_id FROM threads WHERE metadata @> %(metadata)s AND {condition}"  # noqa: S608  no value in it
    return await _ids(connection, statement, parameters | {"metadata": Jsonb({"assistant_id": str(assistant_id)})})


async def find_of_owner(connection: Connection, owner_id: UUID, limit: int) -> list[UUID]:
    """Return the ids of at most `limit` of an owner's threads."""
    return await _ids(connection, _FIND_OF_OWNER, [owner_id, limit])


async def filter_visible(connection: Connection, owner_id: UUID, thread_ids: Sequence[UUID]) -> list[UUID]:
    """Return those ids whose threads the owner may use."""
    condition, parameters = visible_rows("threads", owner_id)
    statement = f"SELECT thread_id FROM threads WHERE thread_id = ANY(%(thread_ids)s) AND {condition}"  # noqa: S608  no value in it
    return await _ids(connection, statement, parameters | {"thread_ids": list(thread_ids)})


async def _ids(connection: Connection, statement: str, parameters: Sequence[Any] | Mapping[str, Any]) -> list[UUID]:
    return [row["thread_id"] for row in await fetch_all(connection, statement, parameters)]


async def lock_unfinished_runs(connection: Connection, thread_ids: Sequence[UUID]) -> list[Row]:
    """Lock the pending and running runs of threads, and return their ids and threads."""
    return await fetch_all(connection, _LOCK_UNFINISHED_RUNS, [list(thread_ids)])


async def delete_threads(connection: Connection, thread_ids: Sequence[UUID]) -> int:
    """Delete threads with their runs and checkpoints, and return how many there were.

    Args:
        connection: In a transaction.
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
