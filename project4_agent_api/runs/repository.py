"""Statements that store, read and delete runs. PostgreSQL is the queue and the source of truth."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from project4_agent_api.core.bounded import Page, fetch_page
from project4_agent_api.core.postgres import Connection, Pool, Row, connected, execute, fetch_all, fetch_one, jsonb
from project4_agent_api.core.serialization import dumps
from project4_agent_api.core.storage import ROW_BYTES, StorageQuota, used_bytes
from project4_agent_api.runs.spec import RunKey, RunSpec
from project4_agent_api.runs.stopping import stop_runs
from project4_agent_api.runs.webhooks import Webhooks
from project4_agent_api.threads.repository import NO_SUCH_THREAD, require_thread
from shared.errors import Conflict, Limit, NotFound, QueueFull, TooManyRequests

NO_SUCH_RUN = "There is no run with this id in this thread."
_SMALL_BYTES = 4096
RETRY_SECONDS = 5  # until some of the pending runs may have started

_COLUMNS = """
    run_id, thread_id, assistant_id, created_at, updated_at, status, metadata, multitask_strategy,
    -- without the run's user: users with shared access may read the run
    kwargs #- '{config,configurable,langgraph_auth_user}' AS kwargs,
    CASE WHEN status = 'interrupted' THEN coalesce(error ->> 'message', 'The run was stopped.') END AS cancel_reason
"""


@dataclass(frozen=True)
class NewRun:
    """A run to be stored.

    Attributes:
        key: Chosen by the caller, which may subscribe to the run before it is stored.
        base_metadata: The first part of its metadata, before the thread's: the assistant's.
        metadata: The last part: its own.
        multitask_strategy: The treatment of unfinished runs of the thread.
        create_thread: Whether to create the thread if there is none.
    """

    key: RunKey
    assistant_id: UUID
    base_metadata: dict[str, Any]
    metadata: dict[str, Any]
    spec: RunSpec
    multitask_strategy: str
    request_id: str | None
    after_seconds: float = 0
    create_thread: bool = False
    traceparent: str | None = None


@dataclass(frozen=True)
class StoredRun:
    """A run that was stored, and the runs of its thread that gave way to it; see `stopping.stop_runs`."""

    row: Row
    stopped: list[Row]


@dataclass(frozen=True)
class Admission:
    """Maximum runs of one user.

    Attributes:
        waiting: Runs that are due and not started.
        deferred: Runs that are due later.
        queue_full: Whether the service takes only a few runs of each user now.
        storage: The limit on the user's storage.
        webhooks: Calls that are due, if the run has a webhook.
    """

    waiting: int
    deferred: int
    queue_full: bool
    storage: StorageQuota
    webhooks: int


# Whether one more run of a user may wait, and be stored. The count stops at the limit, in an index. Runs that are
# stored at the same moment do not see each other, so there may be as many more as the service has connections.
def _capacity(due: str) -> str:
    return f"""
    SELECT count(*) < %(max_pending)s AND {used_bytes("%(owner_id)s")} < %(max_bytes)s AS free FROM (
        SELECT FROM runs WHERE owner_id = %(owner_id)s AND status = 'pending' AND due_at {due} now()
        LIMIT %(max_pending)s
    ) AS pending
"""  # noqa: S608  constants of this module


_WAITING, _DEFERRED = _capacity("<="), _capacity(">")
_UPDATE_THREAD = """
    UPDATE threads SET status = 'busy', updated_at = now(), metadata = metadata || %(marks)s,
        stored_bytes = stored_bytes + %(input_bytes)s
    WHERE thread_id = %(thread_id)s AND owner_id = %(owner_id)s AND (SELECT free FROM capacity)
    RETURNING thread_id, metadata
"""
_NEW_THREAD = """
    INSERT INTO threads
        (thread_id, owner_id, status, metadata, config, interrupts, created_at, updated_at, state_updated_at,
        stored_bytes)
    SELECT %(thread_id)s::uuid, %(owner_id)s::uuid, 'busy', %(metadata)s::jsonb || %(marks)s, '{}', '{}', now(), now(),
        now(), %(thread_bytes)s + %(input_bytes)s
"""
_UPSERT_THREAD = f"""
    {_NEW_THREAD} FROM capacity WHERE free
    ON CONFLICT (thread_id) DO UPDATE
        SET status = 'busy', updated_at = now(), metadata = threads.metadata || %(marks)s,
            stored_bytes = threads.stored_bytes + %(input_bytes)s
        WHERE threads.owner_id = EXCLUDED.owner_id
    RETURNING thread_id, metadata
"""  # noqa: S608  no value in it


def _insert_run(thread: str, capacity: str) -> str:
    return f"""
        WITH capacity AS ({capacity}), thread AS ({thread})
        INSERT INTO runs (
            run_id, thread_id, assistant_id, owner_id, status, metadata, kwargs, multitask_strategy, request_id,
            traceparent, attempt, failures, due_at, created_at, updated_at
        )
        SELECT %(run_id)s, thread_id, %(assistant_id)s, %(owner_id)s, 'pending',
            %(base_metadata)s || thread.metadata || %(metadata)s, %(spec)s, %(multitask_strategy)s, %(request_id)s,
            %(traceparent)s, 0, 0, now() + make_interval(secs => %(after_seconds)s), now(), now()
        FROM thread
        RETURNING {_COLUMNS}
    """  # noqa: S608  no value in it


# By whether the run is due later, and whether it may create its thread.
_INSERT = {
    (deferred, create): _insert_run(_UPSERT_THREAD if create else _UPDATE_THREAD, _DEFERRED if deferred else _WAITING)
    for deferred in (False, True)
    for create in (False, True)
}
_UNFINISHED_OF_THREAD = """
    SELECT run_id FROM runs WHERE thread_id = %s AND owner_id = %s AND status IN ('pending', 'running')
"""
_LOCK_UNFINISHED_OF_THREAD = f"{_UNFINISHED_OF_THREAD} ORDER BY run_id FOR UPDATE"
_COUNT_WEBHOOKS = "SELECT count(*) FROM (SELECT FROM webhooks WHERE owner_id = %s LIMIT %s) AS due"
_LOCK_THREAD = "SELECT FROM threads WHERE thread_id = %(thread_id)s FOR UPDATE"
# An existing thread is locked and stays as it is; a missing one is created, so that a second run has a row to wait for.
_LOCK_OR_CREATE_THREAD = f"{_NEW_THREAD} ON CONFLICT (thread_id) DO UPDATE SET status = 'busy' WHERE false"


async def create_run(connection: Connection, new: NewRun, admission: Admission, webhooks: Webhooks) -> StoredRun:
    """Store a run, and treat the unfinished runs of its thread as its strategy says.

    Args:
        admission: How many runs of one user may wait.
        webhooks: Stores the calls for runs that give way.

    Raises:
        NotFound: if the thread does not exist or belongs to another user.
        Conflict: if the strategy is `reject` and the thread is busy.
        TooManyRequests: if too many of the user's runs or webhooks wait.
        QueueFull: if too many do for a time in which too many runs of all users wait.
        StorageQuotaExceeded: if the user stores too much.
    """
    if new.spec.webhook is not None:
        await _check_webhooks(connection, new.key.owner_id, admission.webhooks)
    parameters = _parameters(new, admission)
    if new.multitask_strategy == "enqueue":
        return StoredRun(await _insert(connection, new, parameters, admission), [])
    thread = [new.key.thread_id, new.key.owner_id]
    async with connection.transaction():
        if new.multitask_strategy != "reject":
            # Lock the runs before their thread, as the statements that end a run do: in the other order two
            # transactions would wait for each other.
            await execute(connection, _LOCK_UNFINISHED_OF_THREAD, thread)
        # A second run waits here, and then sees what the first one stored.
        await execute(connection, _LOCK_OR_CREATE_THREAD if new.create_thread else _LOCK_THREAD, parameters)
        others = [row["run_id"] for row in await fetch_all(connection, _UNFINISHED_OF_THREAD, thread)]
        if others and new.multitask_strategy == "reject":
            raise Conflict("The thread has an unfinished run, and `multitask_strategy` is `reject`.")
        stopped = await stop_runs(connection, others, new.multitask_strategy, webhooks) if others else []
        return StoredRun(await _insert(connection, new, parameters, admission), stopped)


async def _check_webhooks(connection: Connection, owner_id: UUID, maximum: int) -> None:
    row = await fetch_one(connection, _COUNT_WEBHOOKS, [owner_id, maximum])
    if row and row["count"] >= maximum:
        raise TooManyRequests(
            f"{maximum:,} of your webhooks wait already. Try again when some of them were called.",
            retry_after=RETRY_SECONDS,
            limit=Limit("user_webhooks_max", maximum, row["count"]),
        )


def _parameters(new: NewRun, admission: Admission) -> dict[str, Any]:
    spec, metadata = dumps(new.spec.to_json()), dumps(new.metadata)
    input_bytes = len(spec) + len(metadata)
    return {
        # A small input counts when the run ends, with its checkpoints.
        "input_bytes": input_bytes if input_bytes > _SMALL_BYTES else 0,
        "thread_bytes": 0 if new.spec.temporary else ROW_BYTES,
        "max_bytes": admission.storage.maximum,
        "marks": Jsonb({"graph_id": new.spec.graph_id, "assistant_id": str(new.assistant_id)}),
        "base_metadata": Jsonb(new.base_metadata),
        "metadata": jsonb(metadata),
        "spec": jsonb(spec),
        "run_id": new.key.run_id,
        "thread_id": new.key.thread_id,
        "owner_id": new.key.owner_id,
        "assistant_id": new.assistant_id,
        "multitask_strategy": new.multitask_strategy,
        "request_id": new.request_id,
        "traceparent": new.traceparent,
        "after_seconds": new.after_seconds,
        "max_pending": admission.deferred if new.after_seconds else admission.waiting,
    }


async def _insert(connection: Connection, new: NewRun, parameters: dict[str, Any], admission: Admission) -> Row:
    deferred = new.after_seconds > 0
    row = await fetch_one(connection, _INSERT[deferred, new.create_thread], parameters)
    if row is not None:
        return row
    if not new.create_thread:
        await require_thread(connection, new.key.owner_id, new.key.thread_id)
    capacity = await fetch_one(connection, _DEFERRED if deferred else _WAITING, parameters)
    if capacity and capacity["free"]:
        raise NotFound(NO_SUCH_THREAD)
    await admission.storage.require(connection, new.key.owner_id)
    if deferred:
        name, detail = "user_runs_deferred_max", "of your runs are deferred already. Cancel one first."
    elif admission.queue_full:
        raise QueueFull(QueueFull.example_detail, retry_after=RETRY_SECONDS)
    else:
        name, detail = "user_runs_waiting_max", "of your runs wait already. Try again when some of them have started."
    limit: int = parameters["max_pending"]
    raise TooManyRequests(f"{limit:,} {detail}", retry_after=RETRY_SECONDS, limit=Limit(name, limit, limit))


_COUNT_WAITING = """
    SELECT count(*) FROM (SELECT FROM runs WHERE status = 'pending' AND due_at <= now() LIMIT %s) AS waiting
"""


async def count_waiting(connection: Connection, limit: int) -> int:
    """Count the due runs of the service that have not started, up to a limit."""
    row = await fetch_one(connection, _COUNT_WAITING, [limit])
    return row["count"] if row else 0


GET = f"SELECT {_COLUMNS} FROM runs WHERE run_id = %s AND thread_id = %s AND owner_id = %s"  # noqa: S608  constants of this module
_LIST = f"""
    SELECT {_COLUMNS} FROM runs WHERE thread_id = %(thread_id)s AND owner_id = %(owner_id)s
        AND (%(status)s::text IS NULL OR status = %(status)s)
    ORDER BY due_at DESC, run_id DESC LIMIT %(limit)s OFFSET %(offset)s
"""  # noqa: S608  no value in it
_GET_RESULT = """
    SELECT runs.status, runs.error, coalesce(threads.values, '{}') AS values, threads.interrupts
    FROM runs JOIN threads USING (thread_id)
    WHERE run_id = %s AND thread_id = %s AND runs.owner_id = %s
"""
GET_AGE = """
    SELECT status, extract(epoch FROM now() - updated_at)::float8 AS seconds FROM runs
    WHERE run_id = %s AND thread_id = %s AND owner_id = %s
"""
DELETE = "DELETE FROM runs WHERE run_id = %s"


async def get_run(pool: Pool, key: RunKey, statement: str = GET) -> Row:
    """Return a run, or the part of it that the statement selects.

    Raises:
        NotFound: if there is none.
    """
    row = await fetch_one(pool, statement, [key.run_id, key.thread_id, key.owner_id])
    if row is None:
        raise NotFound(NO_SUCH_RUN)
    return row


async def get_result(pool: Pool, key: RunKey) -> Row:
    """Return the status and error of a run, and the state of its thread, with encoded JSON.

    Raises:
        NotFound: if there is none.
    """
    async with connected(pool) as connection:
        rows = await fetch_page(connection, _GET_RESULT, [key.run_id, key.thread_id, key.owner_id])
    if not rows:
        raise NotFound(NO_SUCH_RUN)
    return rows[0]


async def list_runs(
    connection: Connection, owner_id: UUID, thread_id: UUID, *, limit: int, offset: int, status: str | None
) -> Page[Row]:
    """Return a thread's runs with encoded JSON, newest first.

    Raises:
        NotFound: if there is no such thread.
    """
    parameters = {"owner_id": owner_id, "thread_id": thread_id, "status": status, "limit": limit, "offset": offset}
    rows = await fetch_page(connection, _LIST, parameters)
    if not rows:
        await require_thread(connection, owner_id, thread_id)
    return rows
