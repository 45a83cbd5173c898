"""Select the runs that a new client of a thread's stream receives."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from project4_agent_api.core.postgres import Pool, Row, fetch_all, fetch_one
from project4_agent_api.threads.repository import NO_SUCH_THREAD
from shared.errors import NotFound

_STARTED_AT = "coalesce(started_at, updated_at)"  # a run that was stopped before it started counts from then on

# The runs of a thread whose events are kept. Each part has an index: a thread may have tens of thousands of runs.
_WITH_EVENTS = """
    SELECT run_id FROM runs WHERE thread_id = %(thread_id)s AND owner_id = %(owner_id)s AND status = 'running'
    UNION ALL (
        SELECT run_id FROM runs WHERE thread_id = %(thread_id)s AND owner_id = %(owner_id)s
            AND status NOT IN ('pending', 'running') AND updated_at > now() - make_interval(secs => %(kept_seconds)s)
    )
"""
_REPLAY_START = f"""
    SELECT least((
        SELECT max({_STARTED_AT}) FROM runs
        WHERE runs.thread_id = threads.thread_id AND status NOT IN ('pending', 'running')
            AND updated_at > now() - make_interval(secs => %(kept_seconds)s)
    ), (
        SELECT min(started_at) - interval '1 microsecond' FROM (
            SELECT started_at FROM runs WHERE thread_id = %(thread_id)s AND status = 'running'
            UNION ALL
            SELECT started_at FROM runs
            WHERE thread_id = %(thread_id)s AND owner_id = %(owner_id)s AND status = 'pending'
        ) AS unfinished
    )) AS started_at
    FROM threads WHERE thread_id = %(thread_id)s AND owner_id = %(owner_id)s
"""  # noqa: S608  no value in it
_NEXT_STARTED = f"""
    SELECT run_id, {_STARTED_AT} AS started_at FROM runs
    WHERE run_id = ANY (ARRAY({_WITH_EVENTS} UNION ALL (
        SELECT run_id FROM runs WHERE thread_id = %(thread_id)s AND owner_id = %(owner_id)s
            AND status = 'pending' AND started_at IS NOT NULL
    ))) AND ({_STARTED_AT}, run_id) > (%(since)s, %(after)s)
    ORDER BY {_STARTED_AT}, run_id LIMIT 1
"""  # noqa: S608  no value in it
_LIST_STARTED = f"""
    SELECT run_id, status, created_at, updated_at, metadata ->> 'graph_id' AS graph_id,
        kwargs -> 'protocol' = 'true' AS protocol
    FROM runs WHERE run_id = ANY (ARRAY({_WITH_EVENTS} UNION ALL (
        SELECT run_id FROM runs WHERE thread_id = %(thread_id)s AND owner_id = %(owner_id)s
            AND status <> 'pending' ORDER BY due_at DESC, run_id DESC LIMIT 1
    ))) AND run_id <> ALL(%(seen)s)
    ORDER BY due_at, run_id
"""  # noqa: S608  no value in it


@dataclass(frozen=True)
class ThreadReplay:
    """The runs of a thread, as a subscriber of the thread receives them.

    Attributes:
        kept_seconds: How long events are kept after a run's end.
    """

    pool: Pool
    owner_id: UUID
    thread_id: UUID
    kept_seconds: int

    async def start(self) -> datetime | None:
        """Return the start time after which a new subscriber receives runs.

        It is when the last finished run started; or earlier, if an unfinished run started before, because later runs
        may have been stopped before their turn. None if no run's events are kept.

        Raises:
            NotFound: if there is no such thread.
        """
        row = await fetch_one(self.pool, _REPLAY_START, self._parameters())
        if row is None:
            raise NotFound(NO_SUCH_THREAD)
        started_at: datetime | None = row["started_at"]
        return started_at

    async def next_started(self, since: datetime, after: UUID | None) -> Row | None:
        """Return `run_id` and `started_at` of the first run that started since a time.

        Args:
            after: Excludes runs with this very start time (they were stopped together) and an id up to this one; None
                to include all.

        Returns:
            None if there is no such run whose events may be kept.
        """
        return await fetch_one(self.pool, _NEXT_STARTED, self._parameters(since=since, after=after or UUID(int=0)))

    async def list_started(self, seen: Sequence[UUID] = ()) -> list[Row]:
        """Return the runs that started, or ended without having started, in order of execution, without those `seen`.

        Of the runs whose events are no longer kept, only the newest is returned. The thread need not exist.

        Returns:
            `run_id`, `status`, `created_at`, `updated_at`, `graph_id` and `protocol` of each.
        """
        return await fetch_all(self.pool, _LIST_STARTED, self._parameters(seen=list(seen)))

    def _parameters(self, **parameters: Any) -> dict[str, Any]:
        return parameters | {
            "owner_id": self.owner_id,
            "thread_id": self.thread_id,
            "kept_seconds": self.kept_seconds,
        }
