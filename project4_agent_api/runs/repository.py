"""Runs as rows: the statements that store, claim and end them. PostgreSQL is the queue, and the truth.

A thread's runs are executed one at a time, in the order in which they are due. What is claimed is claimed by a worker's
`claim`, until `lease_until`: a statement of a worker that was presumed dead finds its claim gone, and changes nothing.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.errors import QueryCanceled, UniqueViolation
from psycopg.types.json import Jsonb

from project4_agent_api.core.postgres import Connection, Row
from project4_agent_api.models import RunStatus, ThreadStatus
from project4_agent_api.runs.webhooks import Webhooks
from shared.errors import Conflict, NotFound, TooManyRequests

NO_SUCH_THREAD = "There is no thread with this id."
NO_SUCH_RUN = "There is no run with this id in this thread."

RETRY_SECONDS = 5  # until some of what waits may have begun
_TOGETHER = 5  # threads that are deleted by one statement

SHOWN = "run_id, thread_id, assistant_id, created_at, updated_at, status, metadata, kwargs, multitask_strategy"


@dataclass(frozen=True)
class NewRun:
    """A run to be stored.

    Attributes:
        run_id: Chosen by the caller, who may listen for it before it is there.
        thread_id: Whose state it goes on from.
        owner_id: Whose thread that is.
        assistant_id: What it was asked of.
        graph_id: Which graph that is.
        base_metadata: What its metadata begin with, before the thread's: the assistant's.
        metadata: What they end with: its own.
        arguments: How the graph is called.
        multitask_strategy: What becomes of runs of the thread that are not over.
        request_id: Of the request that made it.
        after_seconds: When it is due.
        make_thread: Whether the thread is made where there is none.
        traceparent: Of what it is a part, as traces know it.
    """

    run_id: UUID
    thread_id: UUID
    owner_id: UUID
    assistant_id: UUID
    graph_id: str
    base_metadata: dict[str, Any]
    metadata: dict[str, Any]
    arguments: dict[str, Any]
    multitask_strategy: str
    request_id: str | None
    after_seconds: float = 0
    make_thread: bool = False
    traceparent: str | None = None


# Whether one more run of a user may wait. It is counted as far as it matters, in an index of what waits; runs that are
# stored at the very same moment do not see each other, so there may be as many more as a service has connections.
_ROOM = """
    SELECT count(*) < %(most)s AS room FROM (
        SELECT FROM runs WHERE owner_id = %(owner_id)s AND status = 'pending' LIMIT %(most)s
    ) AS waiting
"""
_EXISTING_THREAD = """
    UPDATE threads SET status = 'busy', updated_at = now(), metadata = metadata || %(marks)s
    WHERE thread_id = %(thread_id)s AND owner_id = %(owner_id)s AND (SELECT room FROM waiting)
    RETURNING thread_id, metadata
"""
_NEW_THREAD = """
    INSERT INTO threads
        (thread_id, owner_id, status, metadata, config, interrupts, created_at, updated_at, state_updated_at)
    SELECT %(thread_id)s::uuid, %(owner_id)s::uuid, 'busy', %(metadata)s::jsonb || %(marks)s, '{}', '{}', now(), now(),
        now()
"""
_ANY_THREAD = f"""
    {_NEW_THREAD} FROM waiting WHERE room
    ON CONFLICT (thread_id) DO UPDATE
        SET status = 'busy', updated_at = now(), metadata = threads.metadata || %(marks)s
        WHERE threads.owner_id = EXCLUDED.owner_id
    RETURNING thread_id, metadata
"""  # noqa: S608  no value in it
_LOCK_EXISTING_THREAD = "SELECT FROM threads WHERE thread_id = %(thread_id)s FOR UPDATE"
# One that is there is locked, and stays as it is.
_LOCK_ANY_THREAD = f"{_NEW_THREAD} ON CONFLICT (thread_id) DO UPDATE SET status = 'busy' WHERE false"


def _insert(thread: str) -> str:
    return f"""
        WITH waiting AS ({_ROOM}), thread AS ({thread})
        INSERT INTO runs (
            run_id, thread_id, assistant_id, owner_id, status, metadata, kwargs, multitask_strategy, request_id,
            traceparent, attempt, failures, due_at, created_at, updated_at
        )
        SELECT %(run_id)s, thread_id, %(assistant_id)s, %(owner_id)s, 'pending',
            %(base_metadata)s || thread.metadata || %(metadata)s, %(arguments)s, %(multitask_strategy)s, %(request_id)s,
            %(traceparent)s, 0, 0, now() + make_interval(secs => %(after_seconds)s), now(), now()
        FROM thread
        RETURNING {SHOWN}
    """  # noqa: S608  no value in it


_INSERT, _INSERT_WITH_THREAD = _insert(_EXISTING_THREAD), _insert(_ANY_THREAD)


@dataclass(frozen=True)
class Created:
    """A run that was stored, and the runs of its thread that give way to it: running ones are still to be told."""

    run: Row
    stopped: list[Row]


async def create_run(connection: Connection, new: NewRun, most: int, webhooks: Webhooks) -> Created:
    """Store a run, and do with the other runs of its thread what its strategy says.

    Args:
        connection: For the statements.
        new: The run.
        most: How many runs of one user may wait.
        webhooks: For those that give way to it.

    Raises:
        NotFound: if there is no such thread, or it is somebody else's.
        Conflict: if the strategy is `reject` and the thread is busy.
        TooManyRequests: if too many of the user's runs wait.
    """
    if new.multitask_strategy == "enqueue":
        return Created(await _store(connection, new, most), [])
    async with connection.transaction():
        others_of = (
            "SELECT run_id FROM runs WHERE thread_id = %s AND owner_id = %s AND status IN ('pending', 'running')"
        )
        if new.multitask_strategy != "reject":
            # The runs before their thread, as whoever ends one: the other way round each would wait for the other.
            await connection.execute(f"{others_of} ORDER BY run_id FOR UPDATE", [new.thread_id, new.owner_id])
        # Who comes second waits here, and sees what the first has stored.
        await connection.execute(_LOCK_ANY_THREAD if new.make_thread else _LOCK_EXISTING_THREAD, _parameters(new, most))
        cursor = await connection.execute(others_of, [new.thread_id, new.owner_id])
        others = [row["run_id"] for row in await cursor.fetchall()]
        if others and new.multitask_strategy == "reject":
            raise Conflict("The thread has a run that is not over, and `multitask_strategy` is `reject`.")
        stopped = await stop_runs(connection, others, new.multitask_strategy, webhooks) if others else []
        return Created(await _store(connection, new, most), stopped)


def _parameters(new: NewRun, most: int) -> dict[str, Any]:
    return {
        "marks": Jsonb({"graph_id": new.graph_id, "assistant_id": str(new.assistant_id)}),
        "base_metadata": Jsonb(new.base_metadata),
        "metadata": Jsonb(new.metadata),
        "arguments": Jsonb(new.arguments),
        "run_id": new.run_id,
        "thread_id": new.thread_id,
        "owner_id": new.owner_id,
        "assistant_id": new.assistant_id,
        "multitask_strategy": new.multitask_strategy,
        "request_id": new.request_id,
        "traceparent": new.traceparent,
        "after_seconds": new.after_seconds,
        "most": most,
    }


async def _store(connection: Connection, new: NewRun, most: int) -> Row:
    cursor = await connection.execute(_INSERT_WITH_THREAD if new.make_thread else _INSERT, _parameters(new, most))
    row = await cursor.fetchone()
    if row is None:
        if not new.make_thread:
            await require_thread(connection, new.owner_id, new.thread_id)
        cursor = await connection.execute(_ROOM, {"owner_id": new.owner_id, "most": most})
        counted = await cursor.fetchone()
        if counted and counted["room"]:
            raise NotFound(NO_SUCH_THREAD)
        raise TooManyRequests(
            f"{most:,} of your runs wait already. Try again when some of them have begun.", retry_after=RETRY_SECONDS
        )
    return row


async def waiting_runs(connection: Connection, most: int) -> int:
    """Count the runs of the service that wait, up to a number."""
    cursor = await connection.execute(
        "SELECT count(*) FROM (SELECT FROM runs WHERE status = 'pending' LIMIT %s) AS waiting", [most]
    )
    row = await cursor.fetchone()
    return row["count"] if row else 0


async def stop_runs(connection: Connection, run_ids: Sequence[UUID], action: str, webhooks: Webhooks) -> list[Row]:
    """Stop runs: those that wait at once, those that run as soon as their worker has heard of it.

    One that waits for another attempt is taken back by the worker that claims it: it has left checkpoints.

    Args:
        connection: In a transaction.
        run_ids: Which ones.
        action: `interrupt` keeps what a run has done so far; `rollback` takes the run and all of it back.
        webhooks: Told of those that are over now.

    Returns:
        `run_id`, `thread_id`, `attempt` and `status` of each that was not over: `interrupted` for one that is now, else
        `running`, as for whoever waits for its end it is.
    """
    told = "runs.run_id, thread_id, attempt, kwargs -> 'temporary' = 'true' AS temporary"
    waiting = (
        "DELETE FROM runs USING held"
        if action == "rollback"
        else "UPDATE runs SET status = 'interrupted', updated_at = now() FROM held"
    )
    cursor = await connection.execute(
        f"""
        WITH held AS (  -- as they are now: one that waited may just have been claimed
            SELECT run_id, status = 'pending' AND NOT (attempt > 0 AND %(action)s = 'rollback') AS at_once
            FROM runs WHERE run_id = ANY(%(ids)s) AND status IN ('pending', 'running')
            ORDER BY run_id FOR UPDATE
        ), waiting AS (
            {waiting} WHERE runs.run_id = held.run_id AND held.at_once RETURNING {told}
        ), running AS (
            UPDATE runs SET cancel = %(action)s, updated_at = now() FROM held
            WHERE runs.run_id = held.run_id AND NOT held.at_once RETURNING {told}
        )
        SELECT *, 'interrupted' AS status FROM waiting UNION ALL SELECT *, 'running' FROM running
        """,  # noqa: S608  no value in it
        {"ids": list(run_ids), "action": action},
    )
    stopped = await cursor.fetchall()
    threads = [row["thread_id"] for row in stopped if row["status"] == "interrupted"]
    if threads:
        # First their locks: what was stored meanwhile is seen by the next statement, and would not be by this one.
        await connection.execute(
            "SELECT FROM threads WHERE thread_id = ANY(%s) ORDER BY thread_id FOR NO KEY UPDATE", [threads]
        )
        await connection.execute(
            """
            UPDATE threads SET updated_at = now(),
                status = CASE WHEN interrupts = '{}' THEN 'idle' ELSE 'interrupted' END
            WHERE thread_id = ANY(%(ids)s) AND status = 'busy' AND NOT EXISTS (
                SELECT FROM runs WHERE runs.thread_id = threads.thread_id AND status IN ('pending', 'running')
            )
            """,
            {"ids": threads},
        )
        over = [row for row in stopped if row["status"] == "interrupted"]
        await webhooks.store(connection, [row["run_id"] for row in over])
        if temporary := [row["thread_id"] for row in over if row["temporary"]]:
            await delete_threads(connection, temporary)
    return stopped


CLAIMED = "run_id, claim, thread_id, owner_id, kwargs, metadata, request_id, traceparent, attempt, updated_at, cancel"


async def claim_next(connection: Connection, owner_id: UUID, lease_seconds: float, most: int) -> Row | None:
    """Claim the run of a user that is due next, on a thread of which none is running.

    Args:
        connection: For the statement.
        owner_id: The user.
        lease_seconds: How long the claim is good for if nothing more is said.
        most: How many runs of one user may be executed at once. Workers that claim at the very same moment do not see
            each other, so it may be one more for each of them.

    Returns:
        The run with a claim of its own, `waited`: for how many seconds it was due, `more`: whether others of the user's
        are due, and `has_state`: whether its thread has a checkpoint. None if there is none to claim: also where
        another worker is at that moment claiming the only one.
    """
    try:
        cursor = await connection.execute(
            f"""
            WITH claimed AS (
                UPDATE runs SET status = 'running', claim = gen_random_uuid(), attempt = attempt + 1,
                    lease_until = now() + make_interval(secs => %(lease)s), updated_at = now(),
                    started_at = coalesce(started_at, now())
                WHERE run_id = (
                    SELECT run_id FROM runs AS due
                    WHERE owner_id = %(owner)s AND status = 'pending' AND due_at <= now()
                        AND NOT EXISTS (SELECT FROM runs WHERE runs.thread_id = due.thread_id AND status = 'running')
                        AND %(most)s > (SELECT count(*) FROM runs WHERE owner_id = %(owner)s AND status = 'running')
                    ORDER BY due_at, run_id LIMIT 1 FOR UPDATE SKIP LOCKED
                )
                RETURNING {CLAIMED}, extract(epoch FROM now() - due_at)::float8 AS waited, EXISTS (
                    SELECT FROM runs AS others WHERE owner_id = %(owner)s AND status = 'pending' AND due_at <= now()
                        AND others.run_id <> runs.run_id
                ) AS more, EXISTS (
                    SELECT FROM checkpoints WHERE checkpoints.thread_id = runs.thread_id::text
                ) AS has_state
            ), busy AS (  -- it is not where this run was stored while the one before it ended
                UPDATE threads SET status = 'busy' FROM claimed
                WHERE threads.thread_id = claimed.thread_id AND threads.status <> 'busy'
            )
            SELECT * FROM claimed
            """,  # noqa: S608  no value in it
            {"owner": owner_id, "lease": lease_seconds, "most": most},
        )
    except UniqueViolation:
        # Another worker has claimed the run before it of the same thread, at the same moment. That is seen by now, and
        # others may be due.
        return await claim_next(connection, owner_id, lease_seconds, most)
    return await cursor.fetchone()


async def free_expired(connection: Connection, most_attempts: int) -> list[Row]:
    """Take back the runs whose workers have said nothing for longer than their lease.

    Returns:
        `run_id`, `thread_id`, `status`, `attempt`, `error` and `temporary` of each: `pending`, to be begun again, or
        `error` after too many attempts, which its thread says too.
    """
    cursor = await connection.execute(
        """
        WITH expired AS (
            SELECT run_id FROM runs WHERE status = 'running' AND lease_until < now()
            ORDER BY lease_until LIMIT 100 FOR UPDATE SKIP LOCKED
        ), freed AS (
            UPDATE runs SET claim = NULL, lease_until = NULL, updated_at = now(), failures = failures + 1,
                status = CASE WHEN failures + 1 < %(most)s THEN 'pending' ELSE 'error' END,
                error = CASE WHEN failures + 1 < %(most)s THEN NULL ELSE %(error)s END
            FROM expired WHERE runs.run_id = expired.run_id
            RETURNING runs.run_id, thread_id, runs.status, runs.attempt, runs.error,
                kwargs -> 'temporary' = 'true' AS temporary
        ), failed AS (
            UPDATE threads SET error = %(error)s, updated_at = now(), status = CASE WHEN EXISTS (
                SELECT FROM runs WHERE runs.thread_id = threads.thread_id AND status = 'pending'
            ) THEN 'busy' ELSE 'error' END
            FROM freed WHERE threads.thread_id = freed.thread_id AND freed.status = 'error'
        )
        SELECT * FROM freed
        """,
        {
            "most": most_attempts,
            "error": Jsonb(
                {
                    "error": "WorkerLost",
                    "message": f"Its worker died or lost the database, at {most_attempts} attempts."
                    " It is not tried again.",
                }
            ),
        },
    )
    return await cursor.fetchall()


async def due_owners(connection: Connection, most: int) -> list[UUID]:
    """Return users who have a run that is due and may have one more executed, those that wait longest first."""
    cursor = await connection.execute(
        """
        WITH RECURSIVE owners AS (  -- from one to the next in the index, however many runs each has
            (SELECT owner_id FROM runs WHERE status = 'pending' ORDER BY owner_id LIMIT 1)
            UNION ALL
            SELECT (
                SELECT owner_id FROM runs WHERE status = 'pending' AND owner_id > owners.owner_id
                ORDER BY owner_id LIMIT 1
            ) FROM owners WHERE owner_id IS NOT NULL
        )
        SELECT owner_id FROM owners CROSS JOIN LATERAL (
            SELECT due_at FROM runs WHERE runs.owner_id = owners.owner_id AND status = 'pending'
            ORDER BY due_at LIMIT 1
        ) AS first
        WHERE due_at <= now()
            AND %s > (SELECT count(*) FROM runs WHERE runs.owner_id = owners.owner_id AND status = 'running')
        ORDER BY due_at LIMIT 1000
        """,
        [most],
    )
    return [row["owner_id"] for row in await cursor.fetchall()]


async def due_among(connection: Connection, owner_ids: Collection[UUID]) -> list[UUID]:
    """Return which of some users have a run that is due."""
    cursor = await connection.execute(
        "SELECT DISTINCT owner_id FROM runs WHERE owner_id = ANY(%s) AND status = 'pending' AND due_at <= now()",
        [list(owner_ids)],
    )
    return [row["owner_id"] for row in await cursor.fetchall()]


async def seconds_until_due(connection: Connection) -> float | None:
    """Return after how many seconds a run falls due; None if none will."""
    cursor = await connection.execute("""
        SELECT extract(epoch FROM min(due_at) - now())::float8 AS seconds FROM runs
        WHERE status = 'pending' AND due_at > now()
    """)
    row = await cursor.fetchone()
    return row["seconds"] if row else None


async def extend_leases(
    connection: Connection, claims: Mapping[UUID, UUID], lease_seconds: float
) -> dict[UUID, str | None]:
    """Say that runs are being worked on.

    Args:
        connection: For the statement.
        claims: The runs, each with its claim.
        lease_seconds: How long they are good for from now on.

    Returns:
        Of each run that is still claimed so, how it is to be stopped, if it is. One that is missing is another worker's
        now.
    """
    cursor = await connection.execute(EXTEND, extension(claims, lease_seconds))
    return {row["run_id"]: row["cancel"] for row in await cursor.fetchall()}


EXTEND = """
    WITH mine AS (
        SELECT run_id FROM runs
            JOIN unnest(%(run_ids)s::uuid[], %(claims)s::uuid[]) AS given (run_id, claim) USING (run_id, claim)
        WHERE status = 'running' ORDER BY run_id FOR UPDATE OF runs
    )
    UPDATE runs SET lease_until = now() + make_interval(secs => %(lease)s)
    FROM mine WHERE runs.run_id = mine.run_id RETURNING runs.run_id, cancel
"""


def extension(claims: Mapping[UUID, UUID], lease_seconds: float) -> dict[str, Any]:
    """Return what `EXTEND` is given."""
    return {"run_ids": list(claims), "claims": list(claims.values()), "lease": lease_seconds}


@dataclass(frozen=True)
class Ending:
    """How a run has ended, and what its thread is afterwards.

    Attributes:
        status: Of the run.
        thread_status: Of the thread, if nothing else of it waits.
        values: The thread's state, as JSON; None leaves what is there.
        interrupts: The questions that wait for an answer, by task.
        error: What went wrong.
    """

    status: RunStatus
    thread_status: ThreadStatus
    values: bytes | None = None
    interrupts: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


# What a thread is after a run, unless another one of it waits. It goes on from the values and questions that are given.
_THREAD_AFTER = """
    UPDATE threads SET
        status = CASE WHEN EXISTS (
            SELECT FROM runs WHERE runs.thread_id = threads.thread_id AND status = 'pending'
        ) THEN 'busy' ELSE %(thread_status)s END,
        values = coalesce(%(values)s::jsonb, values), interrupts = coalesce(%(interrupts)s, interrupts),
        error = %(error)s, updated_at = now(), state_updated_at = now(),
        expires_at = now() + make_interval(secs => ttl_minutes * 60)
    FROM run WHERE threads.thread_id = run.thread_id
    RETURNING EXISTS (
        SELECT FROM runs WHERE runs.owner_id = threads.owner_id AND status = 'pending' AND due_at <= now()
    ) AS more
"""


def _thread_after(ending: Ending) -> dict[str, Any]:
    return {
        "thread_status": ending.thread_status,
        "values": None if ending.values is None else ending.values.decode(),
        "interrupts": None if ending.interrupts is None else Jsonb(ending.interrupts),
        "error": None if ending.error is None else Jsonb(ending.error),
    }


async def finish_run(connection: Connection, run_id: UUID, claim: UUID, ending: Ending) -> Row | None:
    """Store how a run has ended.

    Returns:
        `more`: whether others of its owner's are due. None if it was not this claim's any more: nothing was changed.
    """
    cursor = await connection.execute(
        f"""
        WITH run AS (
            UPDATE runs SET status = %(status)s, error = %(error)s, claim = NULL, lease_until = NULL, updated_at = now()
            WHERE run_id = %(run_id)s AND status = 'running' AND claim = %(claim)s RETURNING thread_id
        ) {_THREAD_AFTER}
        """,  # noqa: S608  no value in it
        {"run_id": run_id, "claim": claim, "status": ending.status, **_thread_after(ending)},
    )
    return await cursor.fetchone()


async def give_back(connection: Connection, run_id: UUID, claim: UUID) -> None:
    """Put a run back, to be gone on with by any worker at once: it costs no attempt."""
    await connection.execute(
        """
        UPDATE runs SET status = 'pending', claim = NULL, lease_until = NULL, updated_at = now()
        WHERE run_id = %s AND status = 'running' AND claim = %s
        """,
        [run_id, claim],
    )


async def let_go(connection: Connection, run_id: UUID, claim: UUID) -> None:
    """Have a run taken for one whose worker died: that costs an attempt, and is begun again if there are any left."""
    await connection.execute(
        "UPDATE runs SET lease_until = now() WHERE run_id = %s AND status = 'running' AND claim = %s", [run_id, claim]
    )


async def forget_checkpoints(connection: Connection, run_id: UUID, claim: UUID | None) -> bool:
    """Delete the checkpoints that a run has made, so that its thread is what it was before.

    Args:
        connection: For the statement.
        run_id: Which one.
        claim: Only if the run is still this claim's; None if it must be over.

    Returns:
        Whether it was.
    """
    cursor = await connection.execute(
        f"""
        WITH run AS (SELECT thread_id::text AS thread_id FROM runs WHERE {_mine(claim)} FOR UPDATE),
        states AS (
            DELETE FROM checkpoints USING run
            WHERE checkpoints.thread_id = run.thread_id AND metadata ->> 'run_id' = %(run_id)s::uuid::text
            RETURNING checkpoints.thread_id, checkpoint_ns, checkpoint_id
        ), writes AS (
            DELETE FROM checkpoint_writes AS writes USING states
            WHERE writes.thread_id = states.thread_id AND writes.checkpoint_ns = states.checkpoint_ns
                AND writes.checkpoint_id = states.checkpoint_id
        )
        SELECT thread_id FROM run
        """,  # noqa: S608  no value in it
        {"run_id": run_id, "claim": claim},
    )
    return await cursor.fetchone() is not None


async def delete_run(connection: Connection, run_id: UUID, claim: UUID | None, ending: Ending) -> bool:
    """Delete a run whose checkpoints are forgotten, and say what its thread is now.

    Returns:
        Whether it was still this claim's, or over where the claim is None.
    """
    cursor = await connection.execute(
        f"""
        WITH run AS (DELETE FROM runs WHERE {_mine(claim)} RETURNING thread_id) {_THREAD_AFTER}
        """,  # noqa: S608  no value in it
        {"run_id": run_id, "claim": claim, **_thread_after(ending)},
    )
    return await cursor.fetchone() is not None


def _mine(claim: UUID | None) -> str:
    state = "status = 'running' AND claim = %(claim)s" if claim else "status NOT IN ('pending', 'running')"
    return f"run_id = %(run_id)s AND {state}"


async def delete_threads(connection: Connection, thread_ids: Sequence[UUID]) -> int:
    """Delete threads with their runs and checkpoints.

    Args:
        connection: In a transaction.
        thread_ids: Which ones.

    Returns:
        How many there were.
    """
    cursor = await connection.execute(
        "DELETE FROM threads WHERE thread_id = ANY(%s) RETURNING thread_id::text", [list(thread_ids)]
    )
    gone = [row["thread_id"] for row in await cursor.fetchall()]
    # A statement of its own: the one before has waited for what workers were writing, and could not see it. They write
    # nothing more, because their runs went with the threads.
    await connection.execute(
        """
        WITH states AS (DELETE FROM checkpoints WHERE thread_id = ANY(%(gone)s)),
        blobs AS (DELETE FROM checkpoint_blobs WHERE thread_id = ANY(%(gone)s))
        DELETE FROM checkpoint_writes WHERE thread_id = ANY(%(gone)s)
        """,
        {"gone": gone},
    )
    return len(gone)


async def delete_temporary(connection: Connection, thread_id: UUID, claim: UUID) -> bool:
    """Delete the thread that was made for a run alone, which writes nothing any more.

    Returns:
        Whether the run was still this claim's.
    """
    cursor = await connection.execute(
        """
        WITH gone AS (
            DELETE FROM threads WHERE thread_id = %(thread)s
                AND EXISTS (SELECT FROM runs WHERE runs.thread_id = threads.thread_id AND claim = %(claim)s)
            RETURNING thread_id::text AS thread_id
        ), states AS (DELETE FROM checkpoints USING gone WHERE checkpoints.thread_id = gone.thread_id),
        blobs AS (DELETE FROM checkpoint_blobs USING gone WHERE checkpoint_blobs.thread_id = gone.thread_id),
        writes AS (DELETE FROM checkpoint_writes USING gone WHERE checkpoint_writes.thread_id = gone.thread_id)
        SELECT FROM gone
        """,
        {"thread": thread_id, "claim": claim},
    )
    return await cursor.fetchone() is not None


async def in_small_batches(
    thread_ids: Sequence[UUID], delete: Callable[[Sequence[UUID]], Awaitable[int]]
) -> AsyncGenerator[int]:
    """Delete threads a few at a time, because all of them may be more than one statement has time for.

    Args:
        thread_ids: Which ones.
        delete: Deletes some in one transaction, on a connection that stays borrowed, and returns how many there were.

    Yields:
        How many are gone now besides those before. They stay so, whatever becomes of the others.

    Raises:
        QueryCanceled: if there is no time for one alone. Where there is none for a few, half of them are tried.
    """
    done, together = 0, _TOGETHER
    while some := thread_ids[done : done + together]:
        try:
            gone = await delete(some)
        except QueryCanceled:
            if len(some) == 1:
                raise
            together = len(some) // 2
        else:
            done += len(some)
            yield gone


async def require_thread(connection: Connection, owner_id: UUID, thread_id: UUID) -> None:
    """Make sure that a thread is there, and its owner's.

    Raises:
        NotFound: if it is not.
    """
    cursor = await connection.execute(
        "SELECT FROM threads WHERE thread_id = %s AND owner_id = %s", [thread_id, owner_id]
    )
    if await cursor.fetchone() is None:
        raise NotFound(NO_SUCH_THREAD)
