"""The runs that schedules make: stored together with the time at which they are due next."""

from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from project4_agent_api.core.postgres import Row, connected
from project4_agent_api.crons.service import DueRun, fire_due
from project4_agent_api.events import wakeups
from project4_agent_api.runs.schemas import RunCreate, StatelessRunCreate
from project4_agent_api.runs.service import Runs, ask_for


async def fire_schedules(runs: Runs) -> float | None:
    """Make the runs that are due by a schedule, and wake workers.

    Returns:
        After how many seconds to look again; None if nothing is to come until something is changed.

    Raises:
        DatabaseUnavailable: if the database is away. Nothing was made.
    """
    owners: set[UUID] = set()
    stopped: list[tuple[str, list[Row]]] = []

    async def create(connection: AsyncConnection[Any], due: DueRun) -> None:
        asked = ask_for(_request(due), due.owner_id, due.thread_id, None)
        created = await runs.store(connection, asked)
        owners.add(asked.owner_id)
        stopped.append((asked.body.multitask_strategy or "enqueue", created.stopped))

    async with connected(runs.pool) as connection:
        seconds = await fire_due(connection, create)
    for strategy, others in stopped:
        await runs.announce(strategy, others)
    if owners:
        await wakeups.wake(runs.redis, *owners)
    return seconds


def _request(due: DueRun) -> RunCreate:
    fields = due.fields | {"assistant_id": str(due.assistant_id), "metadata": due.metadata}
    if due.thread_id:
        return RunCreate.model_validate(fields)
    return StatelessRunCreate.model_validate(fields | {"on_completion": due.on_completion})
