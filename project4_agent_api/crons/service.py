"""Runs to come, again and again: kept in the database, and made when they are due by whichever worker looks first."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from loguru import logger
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from sqlalchemy import Select, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from uuid_utils.compat import uuid7

from project4_agent_api.assistants.service import Assistants
from project4_agent_api.core.offset_pagination import page_of
from project4_agent_api.crons.schedule import next_time
from project4_agent_api.crons.schemas import (
    CronCreate,
    CronFilter,
    CronOptions,
    CronPatch,
    CronSearch,
    ThreadCronCreate,
)
from project4_agent_api.models import Assistant, Cron, Json, Thread
from shared.errors import InvalidRequest, NotFound, TooManyRequests
from shared.owner import LOCAL_OWNER_ID

_AT_ONCE = 100  # that are made in one transaction
_SOON = 1.0  # seconds
_SECONDS_WITHOUT = 60  # of one's own, nothing goes by itself
_NO_SUCH_CRON = "There is no schedule with this id."
# What a schedule says about itself; the rest of its payload is what its runs are made of.
_OWN_FIELDS = {"assistant_id", "enabled", "end_time", "metadata", "on_run_completed", "schedule", "timezone"}


@dataclass(frozen=True)
class DueRun:
    """A run that is to be made now.

    Attributes:
        cron_id: By which schedule.
        owner_id: Whose.
        assistant_id: What is run.
        thread_id: On which thread; None for one of its own.
        fields: As in a request for a run: `input`, `config`, `context`, `webhook`, …
        metadata: The run's, with the schedule's id.
        on_completion: What becomes of a thread of its own; None where it has none.
    """

    cron_id: UUID
    owner_id: UUID
    assistant_id: UUID
    thread_id: UUID | None
    fields: Json
    metadata: Json
    on_completion: str | None


CreateRun = Callable[[AsyncConnection[Any], DueRun], Awaitable[None]]


async def create_cron(
    session: AsyncSession,
    owner_id: UUID,
    assistants: Assistants,
    body: CronCreate | ThreadCronCreate,
    thread_id: UUID | None = None,
    *,
    most: int,
) -> Cron:
    """Store a schedule.

    Args:
        session: Whose transaction.
        owner_id: Whose it is.
        assistants: Of which one is to be run.
        body: What is wanted.
        thread_id: On which thread; None for a thread of its own for each run.
        most: How many one user may have. Those that are made at the very same moment do not see each other.

    Raises:
        NotFound: if there is no such assistant or thread, or it is somebody else's.
        TooManyRequests: if they have as many already.
    """
    assistant_id = assistants.id_of(body.assistant_id)
    # Locked, so that they are there until this is committed.
    query = select(col(Assistant.assistant_id)).where(
        col(Assistant.assistant_id) == assistant_id, assistants.readable(owner_id)
    )
    if await session.scalar(query.with_for_update(read=True, key_share=True)) is None:
        raise NotFound("There is no assistant with this id.")
    if thread_id is not None:
        own = select(col(Thread.thread_id)).where(col(Thread.thread_id) == thread_id, col(Thread.owner_id) == owner_id)
        if await session.scalar(own.with_for_update(read=True, key_share=True)) is None:
            raise NotFound("There is no thread with this id.")
    had = await session.scalar(select(func.count()).select_from(Cron).where(col(Cron.owner_id) == owner_id))
    if (had or 0) >= most:
        raise TooManyRequests(f"You have {most:,} schedules already. Delete one first.", retry_after=_SECONDS_WITHOUT)
    moment = await _moment(session)
    becomes = (body.on_run_completed or "delete") if isinstance(body, CronCreate) else None
    cron_id = uuid7()
    cron = Cron(
        cron_id=cron_id,
        owner_id=owner_id,
        assistant_id=assistant_id,
        thread_id=thread_id,
        schedule=body.schedule,
        timezone=body.timezone,
        payload=_with_id(_given(body) | {"assistant_id": str(assistant_id)}, cron_id),
        meta=body.metadata or {},
        on_run_completed=becomes,
        enabled=body.enabled is not False,
        end_time=body.end_time,
        next_run_date=_due_after(moment, body.schedule, body.timezone, body.end_time),
        created_at=moment,
        updated_at=moment,
    )
    session.add(cron)
    return cron


async def get_cron(session: AsyncSession, owner_id: UUID, cron_id: UUID, *, lock: bool = False) -> Cron:
    """Return a schedule.

    Raises:
        NotFound: if there is none, or it is somebody else's.
    """
    query = select(Cron).where(col(Cron.cron_id) == cron_id, col(Cron.owner_id) == owner_id)
    cron: Cron | None = await session.scalar(query.with_for_update() if lock else query)
    if cron is None:
        raise NotFound(_NO_SUCH_CRON)
    return cron


async def update_cron(session: AsyncSession, owner_id: UUID, cron_id: UUID, body: CronPatch) -> Cron:
    """Change what is given. An `end_time` of null takes the end away.

    Raises:
        InvalidRequest: if it does not go together with what is there.
        NotFound: if there is no such schedule, or it is somebody else's.
    """
    cron = await get_cron(session, owner_id, cron_id, lock=True)
    if body.on_run_completed and cron.thread_id:
        raise InvalidRequest("on_run_completed is for schedules that are not a thread's: this thread stays.")
    cron.schedule = body.schedule or cron.schedule
    cron.timezone = body.timezone or cron.timezone
    cron.end_time = body.end_time if "end_time" in body.model_fields_set else cron.end_time
    cron.enabled = cron.enabled if body.enabled is None else body.enabled
    cron.on_run_completed = body.on_run_completed or cron.on_run_completed
    cron.meta = cron.meta | (body.metadata or {})
    payload = cron.payload | _given(body)
    if cron.end_time is None:
        payload.pop("end_time", None)
    if payload.get("context") and set(payload["config"].get("configurable", {})) - {"cron_id"}:
        raise InvalidRequest("Give either config.configurable or context: they are the same, and context is the newer.")
    cron.payload = _with_id(payload, cron_id)
    cron.updated_at = await _moment(session)
    if body.model_fields_set & {"schedule", "timezone", "end_time", "enabled"}:
        # What was due while it was disabled, or by its old hours, is not made up for.
        cron.next_run_date = _due_after(cron.updated_at, cron.schedule, cron.timezone, cron.end_time)
    return cron


async def delete_cron(session: AsyncSession, owner_id: UUID, cron_id: UUID) -> None:
    """Delete a schedule. Runs that it has made go on.

    Raises:
        NotFound: if there is none, or it is somebody else's.
    """
    gone = await session.scalar(
        delete(Cron).where(col(Cron.cron_id) == cron_id, col(Cron.owner_id) == owner_id).returning(col(Cron.cron_id))
    )
    if gone is None:
        raise NotFound(_NO_SUCH_CRON)


async def search_crons(
    session: AsyncSession, owner_id: UUID, assistants: Assistants, body: CronSearch
) -> Sequence[Cron]:
    """Return the schedules of a page, and one more where there are more.

    Raises:
        NotFound: if the assistant is neither an id nor a graph's name.
    """
    query = _found(select(Cron), owner_id, assistants, body)
    if body.enabled is not None:
        query = query.where(col(Cron.enabled) == body.enabled)
    columns = {
        "cron_id": col(Cron.cron_id),
        "assistant_id": col(Cron.assistant_id),
        "thread_id": col(Cron.thread_id),
        "created_at": col(Cron.created_at),
        "updated_at": col(Cron.updated_at),
        "next_run_date": col(Cron.next_run_date),
        "end_time": col(Cron.end_time),
    }
    query = page_of(query, body, body.sort_by or "created_at", columns, col(Cron.cron_id))
    return (await session.scalars(query)).all()


async def count_crons(session: AsyncSession, owner_id: UUID, assistants: Assistants, body: CronFilter) -> int:
    """Count schedules.

    Raises:
        NotFound: if the assistant is neither an id nor a graph's name.
    """
    return await session.scalar(_found(select(func.count()).select_from(Cron), owner_id, assistants, body)) or 0


def _found(query: Select[Any], owner_id: UUID, assistants: Assistants, body: CronFilter) -> Select[Any]:
    query = query.where(col(Cron.owner_id) == owner_id)
    if body.assistant_id is not None:
        query = query.where(col(Cron.assistant_id) == assistants.id_of(body.assistant_id))
    if body.thread_id is not None:
        query = query.where(col(Cron.thread_id) == body.thread_id)
    if body.metadata:
        query = query.where(col(Cron.meta).contains(body.metadata))
    return query


async def _moment(session: AsyncSession) -> datetime:
    """Return what the database's clock says: that of this process may differ."""
    moment: datetime = (await session.execute(select(func.statement_timestamp()))).scalar_one()
    return moment


def _given(body: CronOptions) -> Json:
    return body.model_dump(mode="json", exclude_unset=True, exclude_none=True)


def _with_id(payload: Json, cron_id: UUID) -> Json:
    """Let a run know by which schedule it was made."""
    config = payload.get("config") or {}
    return payload | {"config": config | {"configurable": config.get("configurable", {}) | {"cron_id": str(cron_id)}}}


def _due_after(moment: datetime, schedule: str, timezone: str | None, end_time: datetime | None) -> datetime | None:
    due = next_time(schedule, timezone, moment)
    return None if due is None or (end_time is not None and due > end_time) else due


async def fire_due(connection: AsyncConnection[Any], create_run: CreateRun) -> float | None:
    """Make the runs that are due, each once, whoever else does the same: in one transaction with their next times.

    What was due several times while nobody looked is made once. A run that cannot be made is left out, and the log
    says so. Whoever has been deactivated or deleted has no runs made.

    Args:
        connection: To the database, in autocommit mode.
        create_run: Stores a run on the connection that it is given, in the transaction that is open there.

    Returns:
        After how many seconds to look again; None if nothing is to come until something is changed.

    Raises:
        psycopg.OperationalError: if the database is away, or the transaction gave way to another. Nothing was made.
    """
    async with connection.transaction():
        due = await _rows(connection, _CLAIM, (LOCAL_OWNER_ID, _AT_ONCE))
        for row in due:
            if row["wanted"]:
                await _fire(connection, create_run, row)
            next_date = _due_after(row["moment"], row["schedule"], row["timezone"], row["end_time"])
            await connection.execute(
                "UPDATE crons SET next_run_date = %s WHERE cron_id = %s", (next_date, row["cron_id"])
            )
    (times,) = await _rows(connection, _EARLIEST, ())
    seconds: float | None = times["seconds"]
    if seconds is not None and seconds <= 0 and len(due) < _AT_ONCE:
        return _SOON  # another worker makes these now; should it die at that, somebody has to look
    return seconds


_CLAIM = """
    SELECT cron_id, owner_id, assistant_id, thread_id, schedule, timezone, payload, metadata, on_run_completed,
        end_time, statement_timestamp() AS moment,
        (end_time IS NULL OR end_time >= statement_timestamp()) AND (owner_id = %s OR EXISTS (
            SELECT FROM users LEFT JOIN accounts ON user_id = id WHERE id = owner_id AND active IS NOT FALSE
        )) AS wanted
    FROM crons WHERE enabled AND next_run_date <= statement_timestamp()
    ORDER BY next_run_date LIMIT %s FOR UPDATE OF crons SKIP LOCKED
"""
_EARLIEST = """
    SELECT extract(epoch FROM min(next_run_date) - statement_timestamp())::float8 AS seconds FROM crons WHERE enabled
"""


async def _fire(connection: AsyncConnection[Any], create_run: CreateRun, row: DictRow) -> None:
    fields = {name: value for name, value in row["payload"].items() if name not in _OWN_FIELDS}
    configurable = {name: value for name, value in fields["config"]["configurable"].items() if name != "cron_id"}
    fields["config"] = fields["config"] | {"configurable": configurable}
    run = DueRun(
        cron_id=row["cron_id"],
        owner_id=row["owner_id"],
        assistant_id=row["assistant_id"],
        thread_id=row["thread_id"],
        fields=fields,
        metadata=row["metadata"] | row["payload"].get("metadata", {}) | {"cron_id": str(row["cron_id"])},
        on_completion=row["on_run_completed"],
    )
    try:
        async with connection.transaction():  # a savepoint: what one run has begun goes, and the others stay
            await create_run(connection, run)
    except psycopg.OperationalError:
        raise
    except Exception as error:  # noqa: BLE001  one that cannot be made must not keep all others from it
        logger.opt(exception=error).error("the run of cron {} cannot be made", row["cron_id"])


async def _rows(connection: AsyncConnection[Any], statement: Any, parameters: Sequence[Any]) -> list[DictRow]:  # noqa: ANN401  the driver wants a literal
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement, parameters)
        return await cursor.fetchall()
