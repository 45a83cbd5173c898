"""Assistants in the database: graphs with settings, each owned by a user; and one of everybody's for each graph.

The built-in ones are the same on every process and never change, so they are known without asking the database. Their
rows are there for what refers to them, and to be searched with the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from psycopg import AsyncConnection
from psycopg.rows import class_row
from sqlalchemy import ColumnElement, Select, and_, func, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from uuid_utils.compat import uuid7

from project2_user_mgmt.models import now
from project4_agent_api.assistants.schemas import (
    AssistantCreate,
    AssistantFilter,
    AssistantPatch,
    AssistantSearch,
    VersionSearch,
)
from project4_agent_api.core.offset_pagination import page_of
from project4_agent_api.core.schemas import GraphConfig
from project4_agent_api.models import Assistant, AssistantVersion, Json
from shared.database.engine import Sessions, transaction
from shared.errors import Conflict, Forbidden, InvalidRequest, NotFound

# LangGraph's own: the id of a graph's assistant is the same here as on its server.
_NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
_BUILT_IN_METADATA = {"created_by": "system"}
_ASSISTANTS = Assistant.__table__  # type: ignore[attr-defined]  # SQLModel gives each table's class one
_VERSIONS = AssistantVersion.__table__  # type: ignore[attr-defined]
_NO_SUCH_ASSISTANT = "There is no assistant with this id."
_BUILT_IN = "This assistant came with the service. Create one of your own to change it."


@dataclass(frozen=True)
class AssistantRow:
    """What a run needs to know of an assistant."""

    assistant_id: UUID
    graph_id: str
    config: Json
    context: Json
    metadata: Json
    version: int


def built_in_id(graph_id: str) -> UUID:
    """Return the id of the assistant that comes with a graph."""
    return uuid5(_NAMESPACE, graph_id)


class Assistants:
    """The assistants of a service with certain graphs.

    Args:
        graphs: Their names, each with what people are told of it.
    """

    def __init__(self, graphs: Mapping[str, str | None]) -> None:
        self.graph_ids = sorted(graphs)
        self._descriptions = graphs
        self._built_in = {
            built_in_id(name): AssistantRow(
                assistant_id=built_in_id(name),
                graph_id=name,
                config={},
                context={},
                metadata=dict(_BUILT_IN_METADATA),
                version=1,
            )
            for name in graphs
        }
        self._stored = False

    async def ensure_built_in(self, sessions: Sessions) -> None:
        """Store a row for each graph's assistant, at the first call of a process.

        Several processes do so at once. Should somebody have taken an id before the graph was there, it is the
        service's from now on.

        Raises:
            DatabaseUnavailable: if the database is away. The next call tries again.
        """
        if self._stored or not self._built_in:
            return
        moment = now()
        rows = [
            {
                "assistant_id": row.assistant_id,
                "graph_id": row.graph_id,
                "name": row.graph_id,
                "description": self._descriptions[row.graph_id],
                "config": row.config,
                "context": row.context,
                "metadata": row.metadata,
                "version": row.version,
                "created_at": moment,
            }
            for row in sorted(self._built_in.values(), key=lambda row: row.assistant_id)  # always locked in this order
        ]
        new = upsert(_ASSISTANTS)
        as_new = {name: new.excluded[name] for name in ("owner_id", "updated_at", *rows[0])}
        differs = or_(
            col(Assistant.owner_id).is_not(None),
            col(Assistant.description).is_distinct_from(new.excluded["description"]),
        )
        async with transaction(sessions) as session:
            await session.execute(
                new.on_conflict_do_update(index_elements=["assistant_id"], set_=as_new, where=differs),
                [row | {"owner_id": None, "updated_at": moment} for row in rows],
            )
            await session.execute(upsert(_VERSIONS).on_conflict_do_nothing(), rows)
        self._stored = True

    async def resolve(self, connection: AsyncConnection[Any], owner_id: UUID, wanted: UUID | str) -> AssistantRow:
        """Return the assistant with an id, or the built-in one of the graph with a name.

        Args:
            connection: For the one statement that a user's own assistant takes; a built-in one takes none.
            owner_id: Who asks.
            wanted: An id, or a graph's name.

        Raises:
            NotFound: if there is none, it is somebody else's, or its graph is not here any more.
        """
        assistant_id = self.id_of(wanted)
        if built_in := self._built_in.get(assistant_id):
            return built_in
        async with connection.cursor(row_factory=class_row(AssistantRow)) as cursor:
            await cursor.execute(
                "SELECT assistant_id, graph_id, config, context, metadata, version FROM assistants"
                " WHERE assistant_id = %s AND owner_id = %s",
                (assistant_id, owner_id),
            )
            row = await cursor.fetchone()
        if row is None:
            raise NotFound(_NO_SUCH_ASSISTANT)
        self.require_graph(row.graph_id)
        return row

    def id_of(self, wanted: UUID | str) -> UUID:
        """Return the id that is meant by an id or a graph's name.

        Raises:
            InvalidRequest: if it is neither.
        """
        if isinstance(wanted, UUID):
            return wanted
        if wanted in self.graph_ids:  # a graph may be named as an id looks
            return built_in_id(wanted)
        try:
            return UUID(wanted)
        except ValueError:
            message = f"{wanted[:100]!a} is neither an id nor a graph's name. The graphs are {self._names()}."
            raise InvalidRequest(message) from None

    def require_graph(self, graph_id: str) -> None:
        """Refuse a graph that is not here.

        Raises:
            NotFound: with the names of those that are.
        """
        if graph_id not in self.graph_ids:
            raise NotFound(f"There is no graph with this name. There are {self._names()}.")

    def _names(self) -> str:
        return ", ".join(self.graph_ids)

    def readable(self, owner_id: UUID) -> ColumnElement[bool]:
        """Return the condition that an assistant may be seen: one's own, or one that came with a graph that is here."""
        everyones = and_(col(Assistant.owner_id).is_(None), col(Assistant.graph_id).in_(self.graph_ids))
        return or_(col(Assistant.owner_id) == owner_id, everyones)

    async def create(self, session: AsyncSession, owner_id: UUID, body: AssistantCreate) -> Assistant:
        """Create an assistant, or find the one that has the wanted id already.

        Raises:
            Conflict: if there is one, and `if_exists` does not say that it will do.
            InvalidRequest, NotFound: as the fields deserve.
        """
        self.require_graph(body.graph_id)
        config, context = _in_step(_given(body.config), body.context)
        moment = now()
        new = Assistant(
            created_at=moment,
            updated_at=moment,
            assistant_id=body.assistant_id or uuid7(),
            owner_id=owner_id,
            graph_id=body.graph_id,
            name=body.name or "Untitled",
            description=body.description,
            config=config or {},
            context=context or {},
            meta=body.metadata or {},
        )
        values = new.model_dump(exclude={"meta"}) | {"metadata": new.meta}
        insert = upsert(_ASSISTANTS).values(values).on_conflict_do_nothing().returning(_ASSISTANTS.c.version)
        if await session.scalar(insert) is not None:
            session.add(_version_of(new))
            return new
        there: Assistant | None = await session.scalar(
            select(Assistant).where(col(Assistant.assistant_id) == new.assistant_id, self.readable(owner_id))
        )
        if there is None or body.if_exists != "do_nothing":
            raise Conflict("There is an assistant with this id already.")
        return there

    async def get(self, session: AsyncSession, owner_id: UUID, assistant_id: UUID) -> Assistant:
        """Return an assistant.

        Raises:
            NotFound: if there is none, or it is somebody else's.
        """
        found: Assistant | None = await session.scalar(
            select(Assistant).where(col(Assistant.assistant_id) == assistant_id, self.readable(owner_id))
        )
        if found is None:
            raise NotFound(_NO_SUCH_ASSISTANT)
        return found

    async def own(self, session: AsyncSession, owner_id: UUID, assistant_id: UUID) -> Assistant:
        """Return an assistant that is going to be changed, and lock it.

        Raises:
            Forbidden: if it came with the service.
            NotFound: if there is none, or it is somebody else's.
        """
        if assistant_id in self._built_in:
            raise Forbidden(_BUILT_IN)
        found: Assistant | None = await session.scalar(
            select(Assistant)
            .where(col(Assistant.assistant_id) == assistant_id, col(Assistant.owner_id) == owner_id)
            .with_for_update()
        )
        if found is None:
            raise NotFound(_NO_SUCH_ASSISTANT)
        return found

    async def update(
        self, session: AsyncSession, owner_id: UUID, assistant_id: UUID, body: AssistantPatch
    ) -> Assistant:
        """Change what is given, as a new version.

        Raises:
            Forbidden, InvalidRequest, NotFound: as `own` and the fields deserve.
        """
        if body.graph_id is not None:
            self.require_graph(body.graph_id)
        config, context = _in_step(_given(body.config), body.context)
        assistant = await self.own(session, owner_id, assistant_id)
        if context is not None and body.config is None:
            others = {name: value for name, value in assistant.config.items() if name != "configurable"}
            config = others | (config or {})
        newest = select(func.max(col(AssistantVersion.version))).where(
            col(AssistantVersion.assistant_id) == assistant_id
        )
        assistant.version = (await session.scalar(newest) or 0) + 1
        assistant.graph_id = body.graph_id or assistant.graph_id
        assistant.name = body.name or assistant.name
        assistant.description = assistant.description if body.description is None else body.description
        assistant.config = assistant.config if config is None else config
        assistant.context = assistant.context if context is None else context
        assistant.meta = assistant.meta | (body.metadata or {})
        assistant.updated_at = now()
        session.add(_version_of(assistant, created_at=assistant.updated_at))
        return assistant

    async def search(self, session: AsyncSession, owner_id: UUID, body: AssistantSearch) -> Sequence[Assistant]:
        """Return the assistants of a page, and one more where there are more.

        Raises:
            NotFound: if the graph is not here.
        """
        query = page_of(
            self._found(select(Assistant), owner_id, body),
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
        return (await session.scalars(query)).all()

    async def count(self, session: AsyncSession, owner_id: UUID, body: AssistantFilter) -> int:
        """Count assistants.

        Raises:
            NotFound: if the graph is not here.
        """
        return await session.scalar(self._found(select(func.count()).select_from(Assistant), owner_id, body)) or 0

    def _found(self, query: Select[Any], owner_id: UUID, body: AssistantFilter) -> Select[Any]:
        query = query.where(self.readable(owner_id))
        if body.graph_id is not None:
            self.require_graph(body.graph_id)
            query = query.where(col(Assistant.graph_id) == body.graph_id)
        if body.name:
            query = query.where(col(Assistant.name).icontains(body.name, autoescape=True))
        if body.metadata:
            query = query.where(col(Assistant.meta).contains(body.metadata))
        return query

    async def versions(
        self, session: AsyncSession, owner_id: UUID, assistant_id: UUID, body: VersionSearch
    ) -> Sequence[AssistantVersion]:
        """Return the versions of an assistant, the newest first.

        Raises:
            NotFound: if there is no assistant, or no such version of it.
        """
        await self.get(session, owner_id, assistant_id)
        query = select(AssistantVersion).where(col(AssistantVersion.assistant_id) == assistant_id)
        if body.metadata:
            query = query.where(col(AssistantVersion.meta).contains(body.metadata))
        query = query.order_by(col(AssistantVersion.version).desc()).limit(body.limit or 10).offset(body.offset or 0)
        found = (await session.scalars(query)).all()
        if not found:
            raise NotFound("There is no such version of this assistant.")
        return found

    async def set_latest(self, session: AsyncSession, owner_id: UUID, assistant_id: UUID, version: int) -> Assistant:
        """Give an assistant what it had in one of its versions. The versions after it stay.

        Raises:
            Forbidden, NotFound: as `own`; NotFound too if there is no such version.
        """
        assistant = await self.own(session, owner_id, assistant_id)
        wanted = await session.get(AssistantVersion, (assistant_id, version))
        if wanted is None:
            raise NotFound("There is no such version of this assistant.")
        for name in ("version", "graph_id", "name", "description", "config", "context", "meta"):
            setattr(assistant, name, getattr(wanted, name))
        assistant.updated_at = now()
        return assistant

    async def delete(self, session: AsyncSession, owner_id: UUID, assistant_id: UUID) -> None:
        """Delete an assistant with its versions and schedules.

        Raises:
            Forbidden, NotFound: as `own`.
        """
        await session.delete(await self.own(session, owner_id, assistant_id))


def _version_of(assistant: Assistant, created_at: datetime | None = None) -> AssistantVersion:
    values = assistant.model_dump(include=set(AssistantVersion.model_fields) - {"created_at"})
    return AssistantVersion(**values, created_at=created_at or assistant.created_at)


def _given(config: GraphConfig | None) -> Json | None:
    return None if config is None else config.model_dump(exclude_none=True)


def _in_step(config: Json | None, context: Json | None) -> tuple[Json | None, Json | None]:
    """Let `context` and its older form, `config.configurable`, say the same, wherever only one of them is given.

    Raises:
        InvalidRequest: if both are.
    """
    configurable = (config or {}).get("configurable")
    if configurable and context:
        raise InvalidRequest("Give either config.configurable or context: they are the same, and context is the newer.")
    if configurable:
        return config, configurable
    if context:
        return (config or {}) | {"configurable": context}, context
    return config, context
