"""Read what a run did: its row, its steps, and one step in detail."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends

from project4_agent_api.core.bounded import Page
from project4_agent_api.core.model_usage import Prices, UsageByModel, usage_of
from project4_agent_api.core.postgres import Connection, Pool, Row, connected
from project4_agent_api.core.state import from_state
from project4_agent_api.events.ids import run_stream
from project4_agent_api.models import RunStatus
from project4_agent_api.runs.service import UNFINISHED, RunsDep
from project4_agent_api.settings import Settings
from project4_agent_api.steps import repository
from project4_agent_api.steps.reading import StepReader, is_visible
from project4_agent_api.steps.repository import RunOfThread
from project4_agent_api.steps.schemas import RunDetails, Step, StepDetails
from project4_agent_api.threads.service import ThreadsDep
from shared.errors import NotFound
from shared.redis.client import REDIS_ERRORS, RedisClient


@dataclass(frozen=True)
class RunSteps:
    """The runs of a service, step by step."""

    pool: Pool
    redis: RedisClient
    reader: StepReader

    async def list_runs(
        self, owner_id: UUID, *, status: RunStatus | None, assistant_id: UUID | None, limit: int, offset: int
    ) -> Page[Row]:
        """Return an owner's runs with encoded JSON, newest first."""
        async with connected(self.pool) as connection:
            page = await repository.list_runs(
                connection, owner_id, status=status, assistant_id=assistant_id, limit=limit, offset=offset
            )
        for row in page:
            stored = row.pop("usage")
            usage = UsageByModel.from_json(stored.decode_json() if stored else None)
            row.update(self._totals(usage))
        return page

    async def get(self, owner_id: UUID, run_id: UUID) -> RunDetails:
        """Return a run with the totals of its steps.

        Raises:
            NotFound: if there is none, or it belongs to another user.
        """
        async with connected(self.pool) as connection:
            row, run = await _get_run(connection, owner_id, run_id)
            steps = await repository.count_steps(connection, run)
            answers = await repository.list_answers(connection, run)
        readable = [answer for answer in answers if answer["blob"] is not None]
        recorded = None if row["status"] in UNFINISHED else row["usage"]  # at the end of each attempt
        if recorded:
            usage, is_complete = UsageByModel.from_json(recorded), row["failures"] == 0
        else:
            usage = usage_of(await asyncio.to_thread(self.reader.messages, readable))
            is_complete = len(readable) == len(answers)
        return RunDetails(
            **row,
            **self._totals(usage),
            steps=steps,
            tokens_complete=is_complete,
            events_kept=await self._has_events(run_id),
        )

    def _totals(self, usage: UsageByModel) -> dict[str, Any]:
        if not usage:
            return {"tokens": None, "cost": None}
        return {"tokens": usage.tokens, "cost": self.reader.prices.cost(usage)}

    async def list_steps(self, owner_id: UUID, run_id: UUID, *, after: str | None, limit: int) -> Page[Step]:
        """Return steps of a run in the order in which they started; `cut` says whether there are more.

        Raises:
            NotFound: if there is no such run, or it belongs to another user.
        """
        async with connected(self.pool) as connection:
            row, run = await _get_run(connection, owner_id, run_id)
            rows = await repository.list_steps(connection, run, after=after, limit=limit + 1)
            kept = rows[:limit]
            # Of the step before each, too: it says which nodes were sent messages.
            places = {(step["checkpoint_ns"], step[name]) for step in kept for name in _CHECKPOINTS if step[name]}
            writes = await repository.list_writes(connection, run.thread_id, sorted(places))
        page = Page(await asyncio.to_thread(self.reader.steps, row, kept, writes))
        page.cut = len(rows) > limit
        return page

    async def get_step(self, owner_id: UUID, run_id: UUID, namespace: str, checkpoint_id: str) -> StepDetails:
        """Return a step with its input, what its nodes wrote, and the difference to the state.

        Raises:
            NotFound: if there is no such run or step, or the run belongs to another user.
        """
        async with connected(self.pool) as connection:
            _, run = await _get_run(connection, owner_id, run_id)
            place = {"namespace": namespace, "checkpoint_id": checkpoint_id}
            found = await repository.list_steps(connection, run, limit=1, **place)
            if not found:
                raise NotFound(repository.NO_SUCH_STEP)
            (step,) = found
            written = await repository.list_written(connection, run.thread_id, **place)
            before = [(namespace, step["parent_checkpoint_id"])] if step["parent_checkpoint_id"] else []
            sent = await repository.list_writes(connection, run.thread_id, before)
            ids = [id_ for id_ in (checkpoint_id, step["ended_id"]) if id_]
            states = await repository.get_states(connection, run.thread_id, namespace, ids)
            versions = {
                (channel, version)
                for state in states.values()
                for channel, version in state["versions"].items()
                if is_visible(channel)
            }
            stored = await repository.get_values(connection, run.thread_id, namespace, sorted(versions))
        return await asyncio.to_thread(self.reader.details, step, written, sent, states, stored)

    async def _has_events(self, run_id: UUID) -> bool | None:
        try:
            return bool(await self.redis.exists(self.redis.key(run_stream(run_id))))
        except REDIS_ERRORS:
            return None


SettingsDep = Annotated[Settings, Depends(from_state(Settings))]
_CHECKPOINTS = ("checkpoint_id", "parent_checkpoint_id")


async def _get_run(connection: Connection, owner_id: UUID, run_id: UUID) -> tuple[Row, RunOfThread]:
    row = await repository.get_run(connection, owner_id, run_id)
    return row, RunOfThread(row["thread_id"], run_id)


async def run_steps(runs: RunsDep, threads: ThreadsDep, settings: SettingsDep) -> RunSteps:
    """Return the service of this process."""
    reader = StepReader(threads.states.checkpoints.serde, Prices.from_settings(settings))
    return RunSteps(runs.pool, runs.redis, reader)


RunStepsDep = Annotated[RunSteps, Depends(run_steps)]
