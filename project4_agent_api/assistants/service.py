"""Assistants: graphs with settings, each owned by a user, and a built-in one for each graph, visible to everyone.

The rows of built-in assistants exist so that runs and crons can refer to them, and searches find them.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, and_, or_
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col
from uuid_utils.compat import uuid7

from project2_user_mgmt.models import now
from project4_agent_api.assistants import repository
from project4_agent_api.assistants.resolution import NO_SUCH_ASSISTANT, AssistantResolver
from project4_agent_api.assistants.schemas import (
    AssistantCreate,
    AssistantFilter,
    AssistantPatch,
    AssistantSearch,
    VersionSearch,
)
from project4_agent_api.core.schemas import GraphConfig
from project4_agent_api.core.visibility import visible_clause
from project4_agent_api.models import Assistant, AssistantVersion, Json
from shared.database.engine import Sessions, transaction
from shared.errors import Conflict, Forbidden, InvalidRequest, NotFound

_BUILT_IN = "This assistant is built in and cannot be changed. Create your own instead."
_NO_SUCH_VERSION = "The assistant has no such version."

# Called with the owner's and the assistant's id.
AssistantHook = Callable[[UUID, UUID], Awaitable[None]]


class Assistants(AssistantResolver):
    """The assistants of a service.

    Args:
        graphs: The names of its graphs, each with its description.
    """

    def __init__(self, graphs: Mapping[str, str | None]) -> None:
        super().__init__(graphs)
        self._descriptions = graphs
        self._built_in_stored = False
        # Threads and runs build on assistants, so `bootstrap.py` sets what deleting one does to them.
        self.delete_threads: AssistantHook | None = None
        self.on_deleted: AssistantHook | None = None

    async def ensure_built_in(self, sessions: Sessions) -> None:
        """Store the built-in assistants, at the first call in a process.

        Several processes do so concurrently. If a user took an id before the graph existed, it becomes the service's.

        Raises:
            DatabaseUnavailable: if the database is unavailable. The next call tries again.
        """
        if self._built_in_stored or not self.built_in:
            return
        created_at = now()
        rows = [
            {
                "assistant_id": assistant.assistant_id,
                "graph_id": assistant.graph_id,
                "name": assistant.graph_id,
                "description": self._descriptions[assistant.graph_id],
                "config": assistant.config,
                "context": assistant.context,
                "metadata": assistant.metadata,
                "version": assistant.version,
                "created_at": created_at,
            }
            for assistant in sorted(self.built_in.values(), key=lambda assistant: assistant.assistant_id)
        ]
        async with transaction(sessions) as session:
            await repository.store_built_in(session, rows)
        self._built_in_stored = True

    def visible_to(self, owner_id: UUID) -> ColumnElement[bool]:
        """Return the condition that a user may see an assistant: their own, or a built-in one of an existing graph."""
        built_in = and_(col(Assistant.owner_id).is_(None), col(Assistant.graph_id).in_(self.graph_ids))
        return or_(visible_clause("assistants", owner_id), built_in)

    async def create(self, session: AsyncSession, owner_id: UUID, body: AssistantCreate) -> Assistant:
        """Create an assistant; with `if_exists="do_nothing"` return the existing one with the same id.

        Raises:
            Conflict: if the id is taken.
            InvalidRequest: if both `config.configurable` and `context` are given.
            NotFound: if there is no such graph.
        """
        self.require_graph(body.graph_id)
        config, context = _synchronize(_to_json(body.config), body.context)
        created_at = now()
        assistant = Assistant(
            created_at=created_at,
            updated_at=created_at,
            assistant_id=body.assistant_id or uuid7(),
            owner_id=owner_id,
            graph_id=body.graph_id,
            name=body.name or "Untitled",
            description=body.description,
            config=config or {},
            context=context or {},
            meta=body.metadata or {},
        )
        if await repository.insert_assistant(session, assistant):
            return assistant
        existing = await repository.find_assistant(session, assistant.assistant_id, self.visible_to(owner_id))
        if existing is None or body.if_exists != "do_nothing":
            raise Conflict("There is an assistant with this id already.")
        return existing

    async def get(self, session: AsyncSession, owner_id: UUID, assistant_id: UUID) -> Assistant:
        """Return an assistant.

        Raises:
            NotFound: if it does not exist, or belongs to another user.
        """
        assistant = await repository.find_assistant(session, assistant_id, self.visible_to(owner_id))
        if assistant is None:
            raise NotFound(NO_SUCH_ASSISTANT)
        return assistant

    async def get_for_update(self, session: AsyncSession, owner_id: UUID, assistant_id: UUID) -> Assistant:
        """Return a user's own assistant, locked until the end of the transaction.

        Raises:
            Forbidden: if it is built in.
            NotFound: if it does not exist, or belongs to another user.
        """
        if assistant_id in self.built_in:
            raise Forbidden(_BUILT_IN)
        is_own = col(Assistant.owner_id) == owner_id
        assistant = await repository.find_assistant(session, assistant_id, is_own, for_update=True)
        if assistant is None:
            raise NotFound(NO_SUCH_ASSISTANT)
        return assistant

    async def update(
        self, session: AsyncSession, owner_id: UUID, assistant_id: UUID, body: AssistantPatch
    ) -> Assistant:
        """Change the given fields, as a new version.

        Raises:
            Forbidden, NotFound: see `get_for_update`; NotFound too if there is no such graph.
            InvalidRequest: if both `config.configurable` and `context` are given.
        """
        if body.graph_id is not None:
            self.require_graph(body.graph_id)
        config, context = _synchronize(_to_json(body.config), body.context)
        assistant = await self.get_for_update(session, owner_id, assistant_id)
        if context is not None and body.config is None:
            other_settings = {name: value for name, value in assistant.config.items() if name != "configurable"}
            config = other_settings | (config or {})
        assistant.version = await repository.newest_version(session, assistant_id) + 1
        assistant.graph_id = body.graph_id or assistant.graph_id
        assistant.name = body.name or assistant.name
        assistant.description = assistant.description if body.description is None else body.description
        assistant.config = assistant.config if config is None else config
        assistant.context = assistant.context if context is None else context
        assistant.meta = assistant.meta | (body.metadata or {})
        assistant.updated_at = now()
        repository.add_version(session, assistant)
        return assistant

    async def search(self, session: AsyncSession, owner_id: UUID, body: AssistantSearch) -> Sequence[Assistant]:
        """Return a page of assistants, and one more if there is a next page.

        Raises:
            NotFound: if there is no such graph.
        """
        self._require_filtered_graph(body)
        return await repository.search_assistants(session, self.visible_to(owner_id), body)

    async def count(self, session: AsyncSession, owner_id: UUID, body: AssistantFilter) -> int:
        """Count assistants.

        Raises:
            NotFound: if there is no such graph.
        """
        self._require_filtered_graph(body)
        return await repository.count_assistants(session, self.visible_to(owner_id), body)

    def _require_filtered_graph(self, body: AssistantFilter) -> None:
        if body.graph_id is not None:
            self.require_graph(body.graph_id)

    async def list_versions(
        self, session: AsyncSession, owner_id: UUID, assistant_id: UUID, body: VersionSearch
    ) -> Sequence[AssistantVersion]:
        """Return a page of an assistant's versions, newest first.

        Raises:
            NotFound: if there is no such assistant, or no version on this page.
        """
        await self.get(session, owner_id, assistant_id)
        versions = await repository.find_versions(session, assistant_id, body)
        if not versions:
            raise NotFound(_NO_SUCH_VERSION)
        return versions

    async def set_latest_version(
        self, session: AsyncSession, owner_id: UUID, assistant_id: UUID, version: int
    ) -> Assistant:
        """Restore the values that an assistant had in one of its versions. Later versions are kept.

        Raises:
            Forbidden, NotFound: see `get_for_update`; NotFound too if there is no such version.
        """
        assistant = await self.get_for_update(session, owner_id, assistant_id)
        restored = await session.get(AssistantVersion, (assistant_id, version))
        if restored is None:
            raise NotFound(_NO_SUCH_VERSION)
        for name in ("version", "graph_id", "name", "description", "config", "context", "meta"):
            setattr(assistant, name, getattr(restored, name))
        assistant.updated_at = now()
        return assistant

    async def delete(
        self, sessions: Sessions, owner_id: UUID, assistant_id: UUID, *, delete_threads: bool = False
    ) -> None:
        """Delete an assistant with its versions and crons, and call the hooks.

        Args:
            sessions: For two transactions: threads are deleted in between, in transactions of their own.
            delete_threads: Whether to delete the threads whose metadata names the assistant first.

        Raises:
            Forbidden, NotFound: see `get_for_update`.
        """
        async with transaction(sessions) as session:
            await self.get_for_update(session, owner_id, assistant_id)
        if delete_threads and self.delete_threads:
            await self.delete_threads(owner_id, assistant_id)
        async with transaction(sessions) as session:
            await session.delete(await self.get_for_update(session, owner_id, assistant_id))
        if self.on_deleted:
            await self.on_deleted(owner_id, assistant_id)


def _to_json(config: GraphConfig | None) -> Json | None:
    return None if config is None else config.model_dump(exclude_none=True)


def _synchronize(config: Json | None, context: Json | None) -> tuple[Json | None, Json | None]:
    """Copy `context` to its older form `config.configurable`, or the other way, so that graphs can read either.

    Raises:
        InvalidRequest: if both are given.
    """
    configurable = (config or {}).get("configurable")
    if configurable and context:
        raise InvalidRequest("Give either config.configurable or context: they are the same, and context is the newer.")
    if configurable:
        return config, configurable
    if context:
        return (config or {}) | {"configurable": context}, context
    return config, context
