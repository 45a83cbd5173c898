"""The statements on crons of the API; `firing.py` has those of workers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project4_agent_api.core.bounded import fetch_models
from project4_agent_api.core.offset_pagination import paginate
from project4_agent_api.core.visibility import visible_clause
from project4_agent_api.crons.schemas import CronFilter, CronSearch
from project4_agent_api.models import Assistant, Cron, Thread


async def lock_assistant(session: AsyncSession, assistant_id: UUID, visible: ColumnElement[bool]) -> bool:
    """Keep an assistant from being deleted until the transaction ends. Return whether it exists and is visible."""
    query = select(col(Assistant.assistant_id)).where(col(Assistant.assistant_id) == assistant_id, visible)
    return await session.scalar(query.with_for_update(read=True, key_share=True)) is not None


async def lock_thread(session: AsyncSession, owner_id: UUID, thread_id: UUID) -> bool:
    """Keep a thread from being deleted until the transaction ends. Return whether the owner has it."""
    query = select(col(Thread.thread_id)).where(col(Thread.thread_id) == thread_id, col(Thread.owner_id) == owner_id)
    return await session.scalar(query.with_for_update(read=True, key_share=True)) is not None


async def count_of_owner(session: AsyncSession, owner_id: UUID) -> int:
    """Return the number of an owner's crons."""
    return await session.scalar(select(func.count()).select_from(Cron).where(col(Cron.owner_id) == owner_id)) or 0


async def database_time(session: AsyncSession) -> datetime:
    """Return the time by the database's clock, which may differ from this process's."""
    now: datetime = (await session.execute(select(func.statement_timestamp()))).scalar_one()
    return now


async def find_cron(session: AsyncSession, owner_id: UUID, cron_id: UUID, *, for_update: bool = False) -> Cron | None:
    """Return an owner's cron, locked if it is to be changed."""
    query = select(Cron).where(col(Cron.cron_id) == cron_id, col(Cron.owner_id) == owner_id)
    cron: Cron | None = await session.scalar(query.with_for_update() if for_update else query)
    return cron


async def delete_cron(session: AsyncSession, owner_id: UUID, cron_id: UUID) -> bool:
    """Delete an owner's cron, and return whether there was one."""
    statement = delete(Cron).where(col(Cron.cron_id) == cron_id, col(Cron.owner_id) == owner_id)
    return await session.scalar(statement.returning(col(Cron.cron_id))) is not None


async def search_crons(
    session: AsyncSession, owner_id: UUID, body: CronSearch, assistant_id: UUID | None
) -> Sequence[Cron]:
    """Return a page of crons, and one more if there are more."""
    query = _filter(select(Cron), owner_id, body, assistant_id)
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
    query = paginate(query, body, body.sort_by or "created_at", columns, col(Cron.cron_id))
    limit, offset = body.page()
    return await fetch_models(session, query, limit + 1, offset)


async def count_crons(session: AsyncSession, owner_id: UUID, body: CronFilter, assistant_id: UUID | None) -> int:
    """Count the crons that match a filter."""
    query = _filter(select(func.count()).select_from(Cron), owner_id, body, assistant_id)
    return await session.scalar(query) or 0


def _filter(query: Select[Any], owner_id: UUID, body: CronFilter, assistant_id: UUID | None) -> Select[Any]:
    query = query.where(visible_clause("crons", owner_id))
    if assistant_id is not None:
        query = query.where(col(Cron.assistant_id) == assistant_id)
    if body.thread_id is not None:
        query = query.where(col(Cron.thread_id) == body.thread_id)
    if body.metadata:
        query = query.where(col(Cron.meta).contains(body.metadata))
    return query
