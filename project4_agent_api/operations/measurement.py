"""Measure threads: correct the bytes that their rows say they take.

The counted bytes differ from the stored ones after a worker died, a history was pruned, or a run was rolled back, and
they are missing for threads that are older than the count.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from time import monotonic
from uuid import UUID

from project4_agent_api.core.postgres import Pool, connected, execute, fetch_all
from project4_agent_api.core.storage import ROW_BYTES

_BATCH = 50
_SWEEP_SECONDS = 2.0  # of each sweep
_TOLERANCE_BYTES = 64 * 1024  # compressed data is smaller than counted
_ROW_BYTES = 150  # as in `batch_writer.py`

_FIRST = UUID(int=0)
_NEXT = "SELECT thread_id FROM threads WHERE thread_id > %s ORDER BY thread_id LIMIT %s"
# Binary values are not read: the database knows their size.
_CORRECT = f"""
    UPDATE threads SET stored_bytes = measured.bytes FROM (
        SELECT thread_id, {ROW_BYTES} + pg_column_size(metadata) + coalesce((
            SELECT sum({ROW_BYTES} + pg_column_size(kwargs)) FROM runs WHERE runs.thread_id = threads.thread_id
        ), 0) + coalesce((
            SELECT sum({_ROW_BYTES} + pg_column_size(checkpoint) + pg_column_size(metadata)) FROM checkpoints
            WHERE checkpoints.thread_id = threads.thread_id::text
        ), 0) + coalesce((
            SELECT sum({_ROW_BYTES} + coalesce(octet_length(blob), 0)) FROM checkpoint_blobs
            WHERE checkpoint_blobs.thread_id = threads.thread_id::text
        ), 0) + coalesce((
            SELECT sum({_ROW_BYTES} + coalesce(octet_length(blob), 0)) FROM checkpoint_writes
            WHERE checkpoint_writes.thread_id = threads.thread_id::text
        ), 0) AS bytes
        FROM threads WHERE thread_id = ANY(%(ids)s) AND status <> 'busy'
    ) AS measured
    WHERE threads.thread_id = measured.thread_id AND status <> 'busy'
        AND abs(stored_bytes - measured.bytes) > greatest({_TOLERANCE_BYTES}, stored_bytes / 4)
"""  # noqa: S608  constants


@dataclass
class ThreadMeasurement:
    """Measures all threads, some in each sweep.

    Attributes:
        after: The thread that was measured last.
    """

    after: UUID = _FIRST

    async def correct(self, pool: Pool) -> AsyncGenerator[int]:
        """Measure threads for two seconds, and yield how many were corrected in each batch."""
        deadline = monotonic() + _SWEEP_SECONDS
        async with connected(pool) as connection:
            while monotonic() < deadline:
                rows = await fetch_all(connection, _NEXT, [self.after, _BATCH])
                # Advanced first: a batch that takes too long is not measured again and again.
                self.after = rows[-1]["thread_id"] if rows else _FIRST
                if not rows:
                    return
                yield await execute(connection, _CORRECT, {"ids": [row["thread_id"] for row in rows]})
