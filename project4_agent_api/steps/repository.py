"""Statements that read runs and their steps from run rows and LangGraph's checkpoints.

A step starts at a checkpoint and ends at the next one of its run. What its nodes returned is stored with the first one.
A run that continues another one, such as an answer to a question, starts at a checkpoint of that run.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from project4_agent_api.core.bounded import Page, fetch_page
from project4_agent_api.core.postgres import Connection, Row, fetch_all, fetch_one
from shared.errors import NotFound

NO_SUCH_RUN = "There is no run with this id."
NO_SUCH_STEP = "There is no step at this checkpoint in this run."
MAX_WRITES = 50  # of one step
_MAX_BLOB = 64 * 1024  # of a write whose messages are counted
_MAX_COUNTED = 8 * 1024 * 1024  # of all such writes of a run
_MAX_TITLE = 200
MAX_VALUE = 1024 * 1024  # of a value that is shown
_READ = f"least(coalesce(octet_length(blob), 0), {MAX_VALUE})"
_MAX_READ = 8 * 1024 * 1024  # of the values that one answer reads
_MESSAGES = "'langchain_core.messages.'::bytea"
_ANSWERS = "'langchain_core.messages.ai'::bytea"
_ENCRYPTED = "type LIKE '%%+%%'"

_COLUMNS = f"""
    run_id, runs.thread_id, assistant_id, runs.status, attempt, runs.created_at, started_at, runs.updated_at,
    kwargs #>> '{{config,configurable,graph_id}}' AS graph_id, usage,
    runs.status = 'success' AND threads.status = 'interrupted' AND NOT EXISTS (
        SELECT FROM runs AS later
        WHERE later.thread_id = runs.thread_id AND (later.due_at, later.run_id) > (runs.due_at, runs.run_id)
    ) AS waiting,
    left(coalesce(
        CASE WHEN jsonb_typeof(kwargs #> '{{input,messages,-1,content}}') = 'string'
            THEN kwargs #>> '{{input,messages,-1,content}}' END,
        threads.metadata ->> 'title'
    ), {_MAX_TITLE}) AS title
"""
LIST = f"""
    SELECT {_COLUMNS} FROM runs JOIN threads USING (thread_id)
    WHERE runs.owner_id = %(owner_id)s AND (%(status)s::text IS NULL OR runs.status = %(status)s)
        AND (%(assistant_id)s::uuid IS NULL OR assistant_id = %(assistant_id)s)
    ORDER BY runs.created_at DESC, run_id DESC LIMIT %(limit)s OFFSET %(offset)s
"""  # noqa: S608  constants of this module
_GET = f"""
    SELECT {_COLUMNS}, threads.status AS thread_status, failures, runs.error, request_id, due_at,
        coalesce(kwargs ->> 'durability', 'async') AS durability,
        CASE WHEN length((kwargs -> 'context')::text) < 10000 THEN kwargs -> 'context' END AS context
    FROM runs JOIN threads USING (thread_id) WHERE run_id = %s AND runs.owner_id = %s
"""  # noqa: S608  constants of this module
# The checkpoints of a run, and the earlier ones that it continued.
_STARTS = """
    own AS (
        SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint ->> 'ts' AS ts,
            metadata ->> 'source' AS source, (metadata ->> 'step')::int AS step,
            CASE WHEN jsonb_typeof(metadata -> 'run_attempt') = 'number' THEN (metadata ->> 'run_attempt')::int END
                AS attempt, checkpoint -> 'updated_channels' AS updated
        FROM checkpoints WHERE thread_id = %(thread_id)s::uuid::text AND metadata ->> 'run_id' = %(run_id)s::uuid::text
    ), starts AS (
        SELECT *, true AS own FROM own
        UNION ALL
        SELECT DISTINCT ON (checkpoint_ns, before.checkpoint_id) checkpoint_ns, before.checkpoint_id,
            before.parent_checkpoint_id, before.checkpoint ->> 'ts', before.metadata ->> 'source',
            (before.metadata ->> 'step')::int, own.attempt, before.checkpoint -> 'updated_channels', false
        FROM own JOIN checkpoints AS before USING (checkpoint_ns)
        WHERE before.thread_id = %(thread_id)s::uuid::text AND before.checkpoint_id = own.parent_checkpoint_id
            AND own.source = 'loop' AND before.metadata ->> 'run_id' IS DISTINCT FROM %(run_id)s::uuid::text
    )
"""
# Where each of them ended, or which other run went on there.
_ENDS = """
    ends AS (
        SELECT DISTINCT ON (checkpoint_ns, parent_checkpoint_id) checkpoint_ns, parent_checkpoint_id AS checkpoint_id,
            ts AS ended, checkpoint_id AS ended_id, attempt AS ended_attempt
        FROM own WHERE source = 'loop' ORDER BY checkpoint_ns, parent_checkpoint_id, own.checkpoint_id
    ), steps AS (
        SELECT starts.*, ended, ended_id, ended_attempt, (
            SELECT later.metadata ->> 'run_id' FROM checkpoints AS later
            WHERE ended_id IS NULL AND later.thread_id = %(thread_id)s::uuid::text
                AND later.checkpoint_ns = starts.checkpoint_ns AND later.checkpoint_id > starts.checkpoint_id
                AND later.parent_checkpoint_id = starts.checkpoint_id AND later.metadata ->> 'source' = 'loop'
            ORDER BY later.checkpoint_id LIMIT 1
        ) AS continued_by
        FROM starts LEFT JOIN ends USING (checkpoint_ns, checkpoint_id)
    )
"""
_STEPS = f"""
    WITH {_STARTS}, {_ENDS} SELECT * FROM steps
    WHERE (%(after)s::text IS NULL OR checkpoint_id > %(after)s)
        AND (%(checkpoint_id)s::text IS NULL OR (checkpoint_id = %(checkpoint_id)s AND checkpoint_ns = %(namespace)s))
    ORDER BY checkpoint_id LIMIT %(limit)s
"""  # noqa: S608  constants of this module
_COUNT = f"WITH {_STARTS} SELECT count(*) AS steps FROM starts"  # noqa: S608  likewise
# Of each write the value, if it may be a message, and the first bytes of a `Send`. An encrypted value may be either.
_WRITES = f"""
    SELECT checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, place, total,
        CASE WHEN sum(octet_length(blob)) OVER (ORDER BY checkpoint_id, place) <= {_MAX_READ} THEN blob END AS blob
    FROM (
        SELECT checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type,
            CASE WHEN channel = '__pregel_tasks' AND NOT {_ENCRYPTED} THEN substring(blob FROM 1 FOR 400)
                WHEN octet_length(blob) <= {_MAX_BLOB} AND (position({_MESSAGES} IN blob) > 0 OR {_ENCRYPTED})
                THEN blob END AS blob,
            row_number() OVER step AS place, count(*) OVER (PARTITION BY checkpoint_ns, checkpoint_id) AS total
        FROM checkpoint_writes
            JOIN unnest(%(namespaces)s::text[], %(ids)s::text[]) AS wanted (checkpoint_ns, checkpoint_id)
                USING (checkpoint_ns, checkpoint_id)
        WHERE thread_id = %(thread_id)s::uuid::text
        WINDOW step AS (PARTITION BY checkpoint_ns, checkpoint_id ORDER BY task_path, task_id, idx)
    ) AS writes WHERE place <= {MAX_WRITES} ORDER BY checkpoint_ns, checkpoint_id, place
"""  # noqa: S608  likewise
# What the model calls of a run wrote, as far as it may be read, and whether that is all.
_ANSWERS_OF_RUN = f"""
    WITH {_STARTS}, {_ENDS}, answers AS (
        SELECT type, blob, octet_length(blob) AS bytes,
            sum(CASE WHEN octet_length(blob) <= {_MAX_BLOB} THEN octet_length(blob) ELSE 0 END)
                OVER (ORDER BY checkpoint_id, task_id, idx) AS so_far
        FROM steps JOIN checkpoint_writes AS writes USING (checkpoint_ns, checkpoint_id)
        WHERE writes.thread_id = %(thread_id)s::uuid::text AND (ended_id IS NOT NULL OR continued_by IS NULL)
            AND (position({_ANSWERS} IN blob) > 0 OR {_ENCRYPTED})
    )
    SELECT type, CASE WHEN bytes <= {_MAX_BLOB} AND so_far <= {_MAX_COUNTED} THEN blob END AS blob FROM answers
"""  # noqa: S608  likewise
_STATES = """
    SELECT checkpoint_id, checkpoint -> 'channel_versions' AS versions, checkpoint -> 'channel_values' AS inline
    FROM checkpoints WHERE thread_id = %(thread_id)s::uuid::text AND checkpoint_ns = %(namespace)s
        AND checkpoint_id = ANY(%(ids)s)
"""
_BLOBS = f"""
    SELECT channel, version, type, octet_length(blob) AS bytes,
        CASE WHEN octet_length(blob) <= {MAX_VALUE}
            AND sum({_READ}) OVER (ORDER BY version, channel) <= {_MAX_READ}
        THEN blob END AS blob
    FROM checkpoint_blobs JOIN unnest(%(channels)s::text[], %(versions)s::text[]) AS wanted (channel, version)
        USING (channel, version)
    WHERE thread_id = %(thread_id)s::uuid::text AND checkpoint_ns = %(namespace)s
"""  # noqa: S608  likewise
_WRITTEN = f"""
    SELECT task_id, task_path, idx, channel, type, octet_length(blob) AS bytes,
        CASE WHEN octet_length(blob) <= {MAX_VALUE}
            AND sum({_READ}) OVER (ORDER BY task_path, task_id, idx) <= {_MAX_READ}
        THEN blob END AS blob,
        count(*) OVER () AS total
    FROM checkpoint_writes WHERE thread_id = %(thread_id)s::uuid::text AND checkpoint_ns = %(namespace)s
        AND checkpoint_id = %(checkpoint_id)s
    ORDER BY task_path, task_id, idx LIMIT {MAX_WRITES}
"""  # noqa: S608  likewise


class RunOfThread(NamedTuple):
    """A run with its thread, once its owner is checked."""

    thread_id: UUID
    run_id: UUID


async def list_runs(
    connection: Connection,
    owner_id: UUID,
    *,
    status: str | None,
    assistant_id: UUID | None,
    limit: int,
    offset: int,
) -> Page[Row]:
    """Return an owner's runs with encoded JSON, newest first. `cut` says whether there are more."""
    parameters = {
        "owner_id": owner_id,
        "status": status,
        "assistant_id": assistant_id,
        "limit": limit + 1,
        "offset": offset,
    }
    page = await fetch_page(connection, LIST, parameters)
    if len(page) > limit:
        page.pop()
        page.cut = True
    return page


async def get_run(connection: Connection, owner_id: UUID, run_id: UUID) -> Row:
    """Return a run.

    Raises:
        NotFound: if there is none, or it belongs to another user.
    """
    row = await fetch_one(connection, _GET, [run_id, owner_id])
    if row is None:
        raise NotFound(NO_SUCH_RUN)
    return row


async def count_steps(connection: Connection, run: RunOfThread) -> int:
    """Count the steps of a run."""
    row = await fetch_one(connection, _COUNT, run._asdict())
    return row["steps"] if row else 0


async def list_answers(connection: Connection, run: RunOfThread) -> list[Row]:
    """Return types and bytes of the values with model answers that a run wrote; no bytes of large ones."""
    return await fetch_all(connection, _ANSWERS_OF_RUN, run._asdict())


async def list_steps(
    connection: Connection,
    run: RunOfThread,
    *,
    limit: int,
    after: str | None = None,
    checkpoint_id: str | None = None,
    namespace: str = "",
) -> list[Row]:
    """Return steps of a run in the order in which they started: those after one, or the one at a checkpoint."""
    parameters = {"after": after, "checkpoint_id": checkpoint_id, "namespace": namespace, "limit": limit}
    return await fetch_all(connection, _STEPS, run._asdict() | parameters)


async def list_writes(connection: Connection, thread_id: UUID, steps: Sequence[tuple[str, str]]) -> list[Row]:
    """Return what the nodes of steps wrote, at most `MAX_WRITES` of each step, with the values of messages only.

    Args:
        steps: The namespace and the id of each step's checkpoint.
    """
    namespaces, ids = [namespace for namespace, _ in steps], [checkpoint_id for _, checkpoint_id in steps]
    return await fetch_all(connection, _WRITES, {"thread_id": thread_id, "namespaces": namespaces, "ids": ids})


async def list_written(connection: Connection, thread_id: UUID, namespace: str, checkpoint_id: str) -> list[Row]:
    """Return what the nodes of one step wrote, without values that are too large."""
    return await fetch_all(
        connection, _WRITTEN, {"thread_id": thread_id, "namespace": namespace, "checkpoint_id": checkpoint_id}
    )


async def get_states(connection: Connection, thread_id: UUID, namespace: str, ids: Sequence[str]) -> dict[str, Row]:
    """Return the channels' versions and short values of checkpoints, by id."""
    parameters = {"thread_id": thread_id, "namespace": namespace, "ids": list(ids)}
    return {row["checkpoint_id"]: row for row in await fetch_all(connection, _STATES, parameters)}


async def get_values(
    connection: Connection, thread_id: UUID, namespace: str, wanted: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], Row]:
    """Return stored values by channel and version: type, size, and bytes unless there are too many."""
    parameters: dict[str, Any] = {
        "thread_id": thread_id,
        "namespace": namespace,
        "channels": [channel for channel, _ in wanted],
        "versions": [version for _, version in wanted],
    }
    rows = await fetch_all(connection, _BLOBS, parameters)
    return {(row["channel"], row["version"]): row for row in rows}
