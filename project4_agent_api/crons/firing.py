"""Fire crons: create the runs of due crons, each once, and store when the crons are due next."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import psycopg
from loguru import logger

from project4_agent_api.core.postgres import Connection, Row, connected, execute, fetch_all, fetch_one
from project4_agent_api.core.project_user import ProjectUser
from project4_agent_api.core.rate_limits import RateLimitResult
from project4_agent_api.core.run_context import set_user
from project4_agent_api.core.visibility import PROJECT_USER, Access, is_project_user, set_accesses
from project4_agent_api.crons.schedule import next_due
from project4_agent_api.crons.service import USER
from project4_agent_api.events import wakeups
from project4_agent_api.models import Json
from project4_agent_api.runs.request import RunRequest
from project4_agent_api.runs.schemas import RunCreate, StatelessRunCreate
from project4_agent_api.runs.service import Runs
from shared.database.errors import unavailable
from shared.owner import LOCAL_OWNER_ID

_BATCH_SIZE = 100  # runs that are created in one transaction
_RETRY_SECONDS = 1.0
# Fields of a cron's payload that describe the cron itself; the others are fields of its runs.
_CRON_FIELDS = {"assistant_id", "enabled", "end_time", "metadata", "on_run_completed", "schedule", "timezone", USER}

# The first due cron of each user comes before the second one of any.
_IS_PROJECT_USER = PROJECT_USER.format(owner_id="owner_id")
_LOCK_DUE = f"""
    SELECT cron_id, owner_id, assistant_id, thread_id, schedule, timezone, payload, metadata, on_run_completed,
        end_time, next_run_date, statement_timestamp() AS now,
        (end_time IS NULL OR end_time >= statement_timestamp()) AND (owner_id = %s OR {_IS_PROJECT_USER} OR EXISTS (
            SELECT FROM users LEFT JOIN accounts ON user_id = id WHERE id = owner_id AND active IS NOT FALSE
        )) AS active
    FROM crons JOIN (
        SELECT cron_id, row_number() OVER (PARTITION BY owner_id ORDER BY next_run_date) AS turn
        FROM crons WHERE enabled AND next_run_date <= statement_timestamp()
    ) AS due USING (cron_id)
    WHERE enabled AND next_run_date <= statement_timestamp()
    ORDER BY turn, next_run_date LIMIT %s FOR UPDATE OF crons SKIP LOCKED
"""  # noqa: S608  a constant
_SET_NEXT = "UPDATE crons SET next_run_date = %s WHERE cron_id = %s"
_SECONDS_UNTIL_DUE = """
    SELECT extract(epoch FROM min(next_run_date) - statement_timestamp())::float8 AS seconds FROM crons WHERE enabled
"""


@dataclass(frozen=True)
class DueRun:
    """A run that a cron creates now.

    Attributes:
        thread_id: The thread; None for a new one.
        fields: Fields of the run's request: `input`, `config`, `context`, `webhook`, …
        metadata: The run's metadata, with the cron's id.
        on_completion: The action on a new thread after the run; None for an existing one.
        user: The user who created the cron, as graphs see it; None if an earlier version stored the cron.
    """

    cron_id: UUID
    owner_id: UUID
    assistant_id: UUID
    thread_id: UUID | None
    fields: Json
    metadata: Json
    on_completion: str | None
    user: Json | None = None

    @classmethod
    def from_row(cls, row: Row) -> "DueRun":
        """Read a row of `_LOCK_DUE`."""
        fields = {name: value for name, value in row["payload"].items() if name not in _CRON_FIELDS}
        configurable = {name: value for name, value in fields["config"]["configurable"].items() if name != "cron_id"}
        fields["config"] = fields["config"] | {"configurable": configurable}
        return cls(
            cron_id=row["cron_id"],
            owner_id=row["owner_id"],
            assistant_id=row["assistant_id"],
            thread_id=row["thread_id"],
            fields=fields,
            metadata=row["metadata"] | row["payload"].get("metadata", {}) | {"cron_id": str(row["cron_id"])},
            on_completion=row["on_run_completed"],
            user=row["payload"].get(USER),
        )

    def request(self) -> RunRequest:
        """Return the request for the run."""
        fields = self.fields | {"assistant_id": str(self.assistant_id), "metadata": self.metadata}
        if self.thread_id:
            return RunRequest.new(RunCreate.model_validate(fields), self.owner_id, self.thread_id)
        body = StatelessRunCreate.model_validate(fields | {"on_completion": self.on_completion})
        return RunRequest.new(body, self.owner_id)


CreateRun = Callable[[Connection, DueRun], Awaitable[None]]


@dataclass(frozen=True)
class FiringRules:
    """How often crons may fire.

    Attributes:
        shortest_seconds: Minimum seconds between two firings of a cron, even if its schedule asks for fewer.
        count: Counts a firing as a request of its user.
    """

    shortest_seconds: float
    count: Callable[[UUID], Awaitable[RateLimitResult]]


async def fire_crons(runs: Runs, rules: FiringRules) -> float | None:
    """Create the runs of due crons, and wake workers.

    Returns:
        Seconds until the next cron is due; None if none will be unless crons are changed.

    Raises:
        DatabaseUnavailable: if the database is unavailable. No run was created.
    """
    owners: set[UUID] = set()
    stopped: list[tuple[str, list[Row]]] = []

    async def create(connection: Connection, due: DueRun) -> None:
        request = due.request()
        # A project's handlers permitted the assistant when the cron was created; it may be another user's.
        set_accesses({"assistants": Access(None)} if is_project_user(due.owner_id) else {})
        set_user(ProjectUser(due.user) if due.user else None, due.owner_id)
        stored = await runs.store(connection, request)
        owners.add(request.key.owner_id)
        stopped.append((request.multitask_strategy, stored.stopped))

    async with connected(runs.pool) as connection:
        seconds = await fire_due(connection, create, rules)
    for strategy, others in stopped:
        await runs.publish_stopped(strategy, others)
    if owners:
        await wakeups.wake_worker(runs.redis, *owners)
    return seconds


async def fire_due(connection: Connection, create_run: CreateRun, rules: FiringRules) -> float | None:
    """Create the runs of due crons and store their next due times, in one transaction: each run once, on any worker.

    A cron that was due several times while no worker looked fires once. A run that cannot be created is skipped and
    logged. Crons of deactivated or deleted users create none. A cron whose user has exceeded the rate limit fires when
    the limit allows it.

    Args:
        connection: In autocommit mode.
        create_run: Stores a run, in the transaction that is open on the connection.

    Returns:
        Seconds until the next cron is due; None if none will be unless crons are changed.

    Raises:
        psycopg.Error: if the database is unavailable, or the transaction was aborted for another one. No run was
            created.
    """
    async with connection.transaction():
        due = await fetch_all(connection, _LOCK_DUE, [LOCAL_OWNER_ID, _BATCH_SIZE])
        for row in due:
            counted = await rules.count(row["owner_id"]) if row["active"] else None
            if counted and counted.allowed:
                await _fire(connection, create_run, DueRun.from_row(row))
            if counted and not counted.allowed:
                next_run_date: datetime | None = row["now"] + timedelta(seconds=counted.reset)
            else:
                earliest_next = row["next_run_date"] + timedelta(seconds=rules.shortest_seconds, microseconds=-1)
                after = max(row["now"], earliest_next)
                next_run_date = next_due(row["schedule"], row["timezone"], after, row["end_time"])
            await execute(connection, _SET_NEXT, [next_run_date, row["cron_id"]])
    earliest = await fetch_one(connection, _SECONDS_UNTIL_DUE)
    seconds: float | None = earliest["seconds"] if earliest else None
    if seconds is not None and seconds <= 0 and len(due) < _BATCH_SIZE:
        return _RETRY_SECONDS  # another worker fires these crons now; it may die before it has
    return seconds


async def _fire(connection: Connection, create_run: CreateRun, run: DueRun) -> None:
    try:
        async with connection.transaction():  # a savepoint: if this run fails, the others are kept
            await create_run(connection, run)
    except psycopg.OperationalError:
        raise
    except Exception as error:  # one run that cannot be created must not prevent the others
        if unavailable(error):
            raise
        logger.opt(exception=error).error("the run of cron {} cannot be created", run.cron_id)
