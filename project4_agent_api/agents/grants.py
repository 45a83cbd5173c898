"""Approvals of tool calls, each of which permits one execution.

They are rows, not fields of the thread's state: a client can write the state, fork it, and run a checkpoint again.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson
from langchain.agents.middleware.human_in_the_loop import Action

from project4_agent_api.core.postgres import Pool, execute

_ISSUE = """
    INSERT INTO tool_approvals (id, thread_id, action_hash, created_at)
    SELECT issued.id, threads.thread_id, issued.action_hash, now()
    FROM unnest(%(ids)s::uuid[], %(hashes)s::text[]) AS issued (id, action_hash)
    JOIN threads ON threads.thread_id = %(thread_id)s
    ON CONFLICT (id) DO NOTHING
"""
_CLAIM = """
    INSERT INTO tool_approvals (id, thread_id, action_hash, created_at, used_at)
    SELECT %(id)s, thread_id, %(action_hash)s, now(), now() FROM threads WHERE thread_id = %(thread_id)s
    ON CONFLICT (id) DO UPDATE SET id = excluded.id WHERE tool_approvals.action_hash = excluded.action_hash
"""
_USE = """
    UPDATE tool_approvals SET used_at = now()
    WHERE id = %(id)s AND thread_id = %(thread_id)s AND action_hash = %(action_hash)s AND used_at IS NULL
"""


class Grants:
    """The approvals of all threads.

    Their ids are derived from the task that asked, so an attempt that repeats the task issues none twice.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def issue(self, thread_id: str, actions: Mapping[UUID, Action]) -> None:
        """Store approvals, by their ids. Those that exist, used or not, stay as they are."""
        hashes = [_hash(action) for action in actions.values()]
        await execute(self._pool, _ISSUE, {"ids": list(actions), "hashes": hashes, "thread_id": thread_id})

    async def claim_question(self, thread_id: str, question_id: UUID, action: Action) -> bool:
        """Return whether a task's question is about this action: that of the first call that claims it.

        The question is stored as a used approval, so that it permits nothing.
        """
        values = {"id": question_id, "thread_id": thread_id, "action_hash": _hash(action)}
        return await execute(self._pool, _CLAIM, values) == 1

    async def use(self, thread_id: str, grant_id: UUID, action: Action) -> bool:
        """Use an approval up; return whether there was an unused one of this action on this thread."""
        values: dict[str, Any] = {"id": grant_id, "thread_id": thread_id, "action_hash": _hash(action)}
        return await execute(self._pool, _USE, values) == 1


def _hash(action: Action) -> str:
    return sha256(orjson.dumps([action["name"], action["args"]], option=orjson.OPT_SORT_KEYS)).hexdigest()
