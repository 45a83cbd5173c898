"""The statements on assistants and their versions."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project4_agent_api.assistants.schemas import AssistantFilter, AssistantSearch, VersionSearch
from project4_agent_api.core.bounded import fetch_models
from project4_agent_api.core.offset_pagination import paginate
from project4_agent_api.models import Assistant, AssistantVersion

_ASSISTANTS = Assistant.__table__  # type: ignore[attr-defined]  # SQLModel adds it to each table's class
_VERSIONS = AssistantVersion.__table__  # type: ignore[attr-defined]  # added by SQLModel


async def store_built_in(session: AsyncSession, rows: Sequence[Mapping[str, Any]]) -> None:
    """Store built-in assistants and their versions. A user's assistant with the same id becomes built-in.

    Args:
        session: Within a transaction.
        rows: Values of the columns, ordered by id, so that concurrent processes lock rows in the same order.
    """
    insert = upsert(_ASSISTANTS)
    assignments = {name: insert.excluded[name] for name in ("owner_id", "updated_at", *rows[0])}
    differs = or_(
        col(Assistant.owner_id).is_not(None),
        col(Assistant.description).is_distinct_from(insert.excluded["description"]),
    )
    await session.execute(
        insert.on_conflict_do_update(index_elements=["assistant_id"], set_=assignments, where=differs),
        [{**row, "owner_id": None, "updated_at": row["created_at"]} for row in rows],
    )
    await session.execute(upsert(_VERSIONS).on_conflict_do_nothing(), rows)


async def insert_assistant(session: AsyncSession, assistant: Assistant) -> bool:
    """Insert an assistant with its first version, and return whether its id was free."""
    values = assistant.model_dump(exclude={"meta"}) | {"metadata": assistant.meta}
    insert = upsert(_ASSISTANTS).values(values).on_conflict_do_nothing().returning(_ASSISTANTS.c.version)
    if await session.scalar(insert) is None:
        return False
    add_version(session, assistant)
    return True


def add_version(session: AsyncSession, assistant: Assistant) -> None:
    """Store the assistant's current values as a version."""
    values = assistant.model_dump(include=set(AssistantVersion.model_fields) - {"created_at"})
    session.add(AssistantVersion(**values, created_at=assistant.updated_at))


async def find_assistant(
    session: AsyncSession, assistant_id: UUID, condition: ColumnElement[bool], *, for_update: bool = False
) -> Assistant | None:
    """Return an assistant if it meets a condition, locked if it is to be changed."""
    query = select(Assistant).where(col(Assistant.assistant_id) == assistant_id, condition)
    assistant: Assistant | None = await session.scalar(query.with_for_update() if for_update else query)
    return assistant


async def newest_version(session: AsyncSession, assistant_id: UUID) -> int:
    """Return the highest version number of an assistant."""
    query = select(func.max(col(AssistantVersion.version))).where(col(AssistantVersion.assistant_id) == assistant_id)
    return await session.scalar(query) or 0


async def find_versions(session: AsyncSession, assistant_id: UUID, body: VersionSearch) -> Sequence[AssistantVersion]:
    """Return a page of an assistant's versions, newest first."""
    query = select(AssistantVersion).where(col(AssistantVersion.assistant_id) == assistant_id)
    if body.metadata:
        query = query.where(col(AssistantVersion.meta).contains(body.metadata))
    query = query.order_by(col(AssistantVersion.version).desc())
    return await fetch_models(session, query, body.limit or 10, body.offset or 0)


async def search_assistants(
    session: AsyncSession, visible: ColumnElement[bool], body: AssistantSearch
) -> Sequence[Assistant]:
    """Return a page of assistants, and one more if there is a next page."""
    query = paginate(
        _filtered(select(Assistant), visible, body),
        body,
        body.sort_by or "created_at",
        {
            "assistant_id": col(Assistant.assistant_id),
            "graph_id": col(Assistant.graph_id),
            "name": col(Assistant.name),
            "created_at": col(Assistant.created_at),
            "updated_at": col(Assistant.updated_at),
        },
        col(Assistant.assistant_id),
    )
    limit, offset = body.page()
    return await fetch_models(session, query, limit + 1, offset)


async def count_assistants(session: AsyncSession, visible: ColumnElement[bool], body: AssistantFilter) -> int:
    """Count the assistants that a search would return."""
    return await session.scalar(_filtered(select(func.count()).select_from(Assistant), visible, body)) or 0


def _filtered(query: Select[Any], visible: ColumnElement[bool], body: AssistantFilter) -> Select[Any]:
    query = query.where(visible)
    if body.graph_id is not None:
        query = query.where(col(Assistant.graph_id) == body.graph_id)
    if body.name:
        query = query.where(col(Assistant.name).icontains(body.name, autoescape=True))
    if body.metadata:
        query = query.where(col(Assistant.meta).contains(body.metadata))
    return query
