"""Stop runs: in the database, and by a message to their workers and subscribers."""

from collections.abc import Sequence
from uuid import UUID

from project4_agent_api.core.postgres import Connection, Row, execute, fetch_all
from project4_agent_api.events.publisher import publish_end
from project4_agent_api.events.wakeups import publish_stop
from project4_agent_api.models import RunStatus
from project4_agent_api.runs.webhooks import Webhooks
from project4_agent_api.threads.repository import delete_threads
from shared.redis.client import RedisClient


def _lock(condition: str) -> str:
    return f"""
        SELECT run_id FROM runs WHERE owner_id = %(owner_id)s AND {condition} ORDER BY run_id FOR UPDATE
    """  # noqa: S608  no value in it


# PostgreSQL matches this condition with its partial indexes on unfinished runs; `status IN (…)` it does not.
_UNFINISHED = "(status = 'pending' OR status = 'running')"
LOCK_SOME = _lock(f"thread_id = %(thread_id)s AND run_id = ANY(%(run_ids)s) AND {_UNFINISHED}")
LOCK_OF_ASSISTANT = _lock(f"assistant_id = %(assistant_id)s AND {_UNFINISHED}")
LOCK_WITH_STATUS = {
    "pending": _lock("status = 'pending'"),
    "running": _lock("status = 'running'"),
    "all": _lock(_UNFINISHED),
}

_STOPPED = "runs.run_id, thread_id, attempt, kwargs -> 'temporary' = 'true' AS temporary"


def _stop(pending: str) -> str:
    return f"""
        WITH held AS (  -- as they are now: a pending run may just have been claimed
            SELECT run_id, status = 'pending' AND NOT (attempt > 0 AND %(action)s = 'rollback') AS at_once
            FROM runs WHERE run_id = ANY(%(run_ids)s) AND status IN ('pending', 'running')
            ORDER BY run_id FOR UPDATE
        ), waiting AS (
            {pending} WHERE runs.run_id = held.run_id AND held.at_once RETURNING {_STOPPED}
        ), running AS (
            UPDATE runs SET cancel = %(action)s, updated_at = now() FROM held
            WHERE runs.run_id = held.run_id AND NOT held.at_once RETURNING {_STOPPED}
        )
        SELECT *, 'interrupted' AS status FROM waiting UNION ALL SELECT *, 'running' FROM running
    """  # noqa: S608  no value in it


_ROLL_BACK = _stop("DELETE FROM runs USING held")
_INTERRUPT = _stop("UPDATE runs SET status = 'interrupted', updated_at = now() FROM held")
_LOCK_THREADS = "SELECT FROM threads WHERE thread_id = ANY(%s) ORDER BY thread_id FOR NO KEY UPDATE"
_SHOW_THREADS_IDLE = """
    UPDATE threads SET updated_at = now(), status = CASE WHEN interrupts = '{}' THEN 'idle' ELSE 'interrupted' END
    WHERE thread_id = ANY(%s) AND status = 'busy' AND NOT EXISTS (
        SELECT FROM runs WHERE runs.thread_id = threads.thread_id AND status IN ('pending', 'running')
    )
"""


async def stop_runs(connection: Connection, run_ids: Sequence[UUID], action: str, webhooks: Webhooks) -> list[Row]:
    """Stop runs in the database: pending ones at once; running ones stop when their worker learns of it.

    A run that waits for another attempt has left checkpoints, so it is rolled back by the worker that claims it.

    Args:
        connection: In a transaction.
        action: `interrupt` keeps the runs' checkpoints; `rollback` deletes the runs and their checkpoints.
        webhooks: Stores the calls for the runs that ended.

    Returns:
        `run_id`, `thread_id`, `attempt` and `status` of each unfinished run: `interrupted` if it ended, `running` if it
        is still to be stopped.
    """
    statement = _ROLL_BACK if action == "rollback" else _INTERRUPT
    stopped = await fetch_all(connection, statement, {"run_ids": list(run_ids), "action": action})
    ended = [row for row in stopped if row["status"] == RunStatus.INTERRUPTED]
    if ended:
        thread_ids = [row["thread_id"] for row in ended]
        # Lock first: a run that was stored meanwhile is visible to the next statement, but not to this one.
        await execute(connection, _LOCK_THREADS, [thread_ids])
        await execute(connection, _SHOW_THREADS_IDLE, [thread_ids])
        await webhooks.store(connection, [row["run_id"] for row in ended])
        if temporary := [row["thread_id"] for row in ended if row["temporary"]]:
            await delete_threads(connection, temporary)
    return stopped


async def publish_stopped(redis: RedisClient, action: str, stopped: Sequence[Row], kept_seconds: int) -> None:
    """Publish the result of `stop_runs`: to the workers of running runs, and to the subscribers of ended ones."""
    for run in stopped:
        if run["status"] == RunStatus.RUNNING:
            await publish_stop(redis, run["run_id"], action)
        else:
            end = f"{action}\n{{}}".encode()
            await publish_end(redis, run["thread_id"], run["run_id"], run["attempt"] + 1, end, kept_seconds)
