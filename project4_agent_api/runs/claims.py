"""Claims of runs: a worker claims a run, renews its lease, and stores how it ended.

A thread's runs are executed one at a time, in the order in which they are due. A claim lasts until `lease_until`: a
statement of a worker that was presumed dead finds its claim replaced, and changes nothing.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.errors import UniqueViolation
from psycopg.types.json import Jsonb

from project4_agent_api.core.postgres import Connection, Row, execute, fetch_all, fetch_one
from project4_agent_api.models import RunStatus, ThreadStatus
from project4_agent_api.runs.spec import ClaimedRun


async def claim_next(
    connection: Connection, owner_id: UUID, lease_seconds: float, max_running: int
) -> ClaimedRun | None:
    """Claim the run of a user that is due next, on a thread without a running one.

    Args:
        lease_seconds: How long the claim lasts unless it is renewed.
        max_running: How many runs of one user may be executed at once. Workers that claim at the same moment do not
            see each other, so there may be one more for each of them.

    Returns:
        The run; None if there is none to claim, or another worker is claiming the only one.
    """
    try:
        row = await fetch_one(
            connection,
            """
            WITH claimed AS (
                UPDATE runs SET status = 'running', claim = gen_random_uuid(), attempt = attempt + 1,
                    lease_until = now() + make_interval(secs => %(lease)s), updated_at = now(),
                    started_at = coalesce(started_at, now())
                WHERE run_id = (
                    SELECT run_id FROM runs AS due
                    WHERE owner_id = %(owner)s AND status = 'pending' AND due_at <= now()
                        AND NOT EXISTS (SELECT FROM runs WHERE runs.thread_id = due.thread_id AND status = 'running')
                        AND %(max_running)s >
                            (SELECT count(*) FROM runs WHERE owner_id = %(owner)s AND status = 'running')
                    ORDER BY due_at, run_id LIMIT 1 FOR UPDATE SKIP LOCKED
                )
                RETURNING run_id, claim, thread_id, owner_id, kwargs, metadata, request_id, traceparent, attempt,
                    cancel, updated_at AS claimed_at,
                    extract(epoch FROM now() - due_at)::float8 AS seconds_queued, EXISTS (
                        SELECT FROM runs AS others WHERE owner_id = %(owner)s AND status = 'pending' AND due_at <= now()
                            AND others.run_id <> runs.run_id
                    ) AS more_due, EXISTS (
                        SELECT FROM checkpoints WHERE checkpoints.thread_id = runs.thread_id::text
                    ) AS has_state
            ), busy AS (  -- it is not if this run was stored while the previous one ended
                UPDATE threads SET status = 'busy' FROM claimed
                WHERE threads.thread_id = claimed.thread_id AND threads.status <> 'busy'
            )
            SELECT * FROM claimed
            """,
            {"owner": owner_id, "lease": lease_seconds, "max_running": max_running},
        )
    except UniqueViolation:
        # Another worker claimed an earlier run of the same thread at the same moment. Its claim is visible now, and
        # other runs may be due.
        return await claim_next(connection, owner_id, lease_seconds, max_running)
    return ClaimedRun.from_row(row) if row else None


async def requeue_expired(connection: Connection, max_failures: int) -> list[Row]:
    """Requeue the runs whose workers have not renewed the lease; after too many such failures, end them.

    Returns:
        `run_id`, `thread_id`, `status`, `attempt`, `error` and `temporary` of each run. Its status is `pending`, or
        `error` after too many failures; then its thread shows the error too.
    """
    message = f"The worker died or lost the database in {max_failures} attempts. The run is not tried again."
    error = Jsonb({"error": "WorkerLost", "message": message})
    return await fetch_all(
        connection,
        """
        WITH expired AS (
            SELECT run_id FROM runs WHERE status = 'running' AND lease_until < now()
            ORDER BY lease_until LIMIT 100 FOR UPDATE SKIP LOCKED
        ), requeued AS (
            UPDATE runs SET claim = NULL, lease_until = NULL, updated_at = now(), failures = failures + 1,
                status = CASE WHEN failures + 1 < %(max_failures)s THEN 'pending' ELSE 'error' END,
                error = CASE WHEN failures + 1 < %(max_failures)s THEN NULL ELSE %(error)s END
            FROM expired WHERE runs.run_id = expired.run_id
            RETURNING runs.run_id, thread_id, runs.status, runs.attempt, runs.error,
                kwargs -> 'temporary' = 'true' AS temporary
        ), failed AS (
            UPDATE threads SET error = %(error)s, updated_at = now(), status = CASE WHEN EXISTS (
                SELECT FROM runs WHERE runs.thread_id = threads.thread_id AND status = 'pending'
            ) THEN 'busy' ELSE 'error' END
            FROM requeued WHERE threads.thread_id = requeued.thread_id AND requeued.status = 'error'
        )
        SELECT * FROM requeued
        """,
        {"max_failures": max_failures, "error": error},
    )


_DUE_OWNERS = """
    WITH RECURSIVE owners AS (  -- skips in the index from owner to owner, however many runs each has
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
"""
_DUE_AMONG = """
    SELECT DISTINCT owner_id FROM runs WHERE owner_id = ANY(%s) AND status = 'pending' AND due_at <= now()
"""
_SECONDS_UNTIL_DUE = """
    SELECT extract(epoch FROM min(due_at) - now())::float8 AS seconds FROM runs
    WHERE status = 'pending' AND due_at > now()
"""


async def due_owners(connection: Connection, max_running: int) -> list[UUID]:
    """Return the users with a due run who are below their limit of running ones, the longest waiting first."""
    return [row["owner_id"] for row in await fetch_all(connection, _DUE_OWNERS, [max_running])]


async def due_among(connection: Connection, owner_ids: Collection[UUID]) -> list[UUID]:
    """Return which of some users have a due run."""
    return [row["owner_id"] for row in await fetch_all(connection, _DUE_AMONG, [list(owner_ids)])]


async def seconds_until_due(connection: Connection) -> float | None:
    """Return in how many seconds the next run falls due; None if there is none."""
    row = await fetch_one(connection, _SECONDS_UNTIL_DUE)
    return row["seconds"] if row else None


RENEW_LEASES = """
    WITH mine AS (
        SELECT run_id FROM runs
            JOIN unnest(%(run_ids)s::uuid[], %(claims)s::uuid[]) AS given (run_id, claim) USING (run_id, claim)
        WHERE status = 'running' ORDER BY run_id FOR UPDATE OF runs
    )
    UPDATE runs SET lease_until = now() + make_interval(secs => %(lease)s)
    FROM mine WHERE runs.run_id = mine.run_id RETURNING runs.run_id, cancel
"""


def renewal_parameters(claims: Mapping[UUID, UUID], lease_seconds: float) -> dict[str, Any]:
    """Return the parameters of `RENEW_LEASES`."""
    return {"run_ids": list(claims), "claims": list(claims.values()), "lease": lease_seconds}


async def renew_leases(
    connection: Connection, claims: Mapping[UUID, UUID], lease_seconds: float
) -> dict[UUID, str | None]:
    """Renew the leases of runs.

    Args:
        claims: The claim of each run, by run id.
        lease_seconds: How long the claims last from now on.

    Returns:
        The requested stop action of each run that still has its claim, or None. A missing run was claimed by another
        worker.
    """
    rows = await fetch_all(connection, RENEW_LEASES, renewal_parameters(claims, lease_seconds))
    return {row["run_id"]: row["cancel"] for row in rows}


@dataclass(frozen=True)
class Ending:
    """How a run ended, and the state of its thread afterwards.

    Attributes:
        thread_status: The thread's status, unless another of its runs is pending.
        values: The thread's state as JSON; None leaves the stored one.
        interrupts: The questions that wait for an answer, by task; None leaves the stored ones.
        stored_bytes: Bytes of the run that its thread's row does not contain yet.
    """

    status: RunStatus
    thread_status: ThreadStatus
    values: bytes | None = None
    interrupts: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    stored_bytes: int = 0


_UPDATE_THREAD = """
    UPDATE threads SET
        status = CASE WHEN EXISTS (
            SELECT FROM runs WHERE runs.thread_id = threads.thread_id AND status = 'pending'
        ) THEN 'busy' ELSE %(thread_status)s END,
        values = coalesce(%(values)s::jsonb, values), interrupts = coalesce(%(interrupts)s, interrupts),
        error = %(error)s, updated_at = now(), state_updated_at = now(),
        stored_bytes = stored_bytes + %(stored_bytes)s,
        expires_at = now() + make_interval(secs => ttl_minutes * 60)
    FROM run WHERE threads.thread_id = run.thread_id
    RETURNING EXISTS (
        SELECT FROM runs WHERE runs.owner_id = threads.owner_id AND status = 'pending' AND due_at <= now()
    ) AS more_due
"""
_FINISH = f"""
    WITH run AS (
        UPDATE runs SET status = %(status)s, error = %(error)s, claim = NULL, lease_until = NULL, updated_at = now()
        WHERE run_id = %(run_id)s AND status = 'running' AND claim = %(claim)s RETURNING thread_id
    ) {_UPDATE_THREAD}
"""  # noqa: S608  no value in it


async def finish_run(connection: Connection, run_id: UUID, claim: UUID, ending: Ending) -> bool | None:
    """Store how a run ended.

    Returns:
        Whether other runs of its owner are due; None if the run no longer had this claim: nothing was changed.
    """
    parameters = {"run_id": run_id, "claim": claim, "status": ending.status, **_thread_parameters(ending)}
    row = await fetch_one(connection, _FINISH, parameters)
    return row["more_due"] if row else None


def _thread_parameters(ending: Ending) -> dict[str, Any]:
    return {
        "thread_status": ending.thread_status,
        "stored_bytes": ending.stored_bytes,
        "values": None if ending.values is None else ending.values.decode(),
        "interrupts": None if ending.interrupts is None else Jsonb(ending.interrupts),
        "error": None if ending.error is None else Jsonb(ending.error),
    }


async def requeue(connection: Connection, run_id: UUID, claim: UUID) -> None:
    """Requeue a run, so that any worker continues it at once. This does not count as a failure."""
    await execute(
        connection,
        """
        UPDATE runs SET status = 'pending', claim = NULL, lease_until = NULL, updated_at = now()
        WHERE run_id = %s AND status = 'running' AND claim = %s
        """,
        [run_id, claim],
    )


async def expire_lease(connection: Connection, run_id: UUID, claim: UUID) -> None:
    """Treat a run as if its worker had died: this counts as a failure, and the run is tried again if it may."""
    await execute(
        connection,
        "UPDATE runs SET lease_until = now() WHERE run_id = %s AND status = 'running' AND claim = %s",
        [run_id, claim],
    )


_IF_CLAIMED = "run_id = %(run_id)s AND status = 'running' AND claim = %(claim)s"
_IF_FINISHED = "run_id = %(run_id)s AND status NOT IN ('pending', 'running')"


def _delete_checkpoints(condition: str) -> str:
    return f"""
        WITH run AS (SELECT thread_id::text AS thread_id FROM runs WHERE {condition} FOR UPDATE),
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
    """  # noqa: S608  no value in it


_DELETE_CHECKPOINTS_IF_CLAIMED = _delete_checkpoints(_IF_CLAIMED)
_DELETE_CHECKPOINTS_IF_FINISHED = _delete_checkpoints(_IF_FINISHED)
_DELETE_RUN = f"WITH run AS (DELETE FROM runs WHERE {_IF_CLAIMED} RETURNING thread_id) {_UPDATE_THREAD}"  # noqa: S608  constants of this module


async def delete_checkpoints(connection: Connection, run_id: UUID, claim: UUID | None) -> bool:
    """Delete the checkpoints that a run has made, so that its thread is as it was before.

    Args:
        claim: Delete only if the run still has this claim; with None, only if it is finished.

    Returns:
        Whether the run was in that state.
    """
    statement = _DELETE_CHECKPOINTS_IF_CLAIMED if claim else _DELETE_CHECKPOINTS_IF_FINISHED
    return await fetch_one(connection, statement, {"run_id": run_id, "claim": claim}) is not None


async def delete_run(connection: Connection, run_id: UUID, claim: UUID, before: Ending) -> bool:
    """Delete a run that is rolled back, after its checkpoints, and store the state of its thread.

    Returns:
        Whether the run still had this claim.
    """
    parameters = {"run_id": run_id, "claim": claim, **_thread_parameters(before)}
    return await fetch_one(connection, _DELETE_RUN, parameters) is not None
