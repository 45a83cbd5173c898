"""Give threads without a time to live that of the project's `checkpointer.ttl`. `retention.py` deletes expired ones."""

import asyncio
import contextlib

from project4_agent_api.core.postgres import Pool, execute
from project4_agent_api.graphs.project_file import ThreadTtlPart
from shared.errors import DatabaseUnavailable

_APPLY = """
    UPDATE threads SET ttl_strategy = %(strategy)s, ttl_minutes = %(minutes)s,
        expires_at = updated_at + make_interval(secs => %(minutes)s::float8 * 60)
    WHERE thread_id IN (
        SELECT thread_id FROM threads WHERE ttl_minutes IS NULL ORDER BY thread_id LIMIT 1000 FOR UPDATE SKIP LOCKED
    )
"""


async def apply_default_ttl(pool: Pool, part: ThreadTtlPart) -> None:
    """Give the default to at most 1000 threads that have no time to live.

    Raises:
        DatabaseUnavailable: if the database is unavailable.
    """
    await execute(pool, _APPLY, {"strategy": part.strategy, "minutes": part.default_ttl})


async def keep_applying_default_ttl(pool: Pool, part: ThreadTtlPart, seconds: float) -> None:
    """Apply the default periodically, until the task is cancelled."""
    while part.default_ttl is not None:
        with contextlib.suppress(DatabaseUnavailable):
            await apply_default_ttl(pool, part)
        await asyncio.sleep(seconds)
