"""This service, as the place to which data are imported."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from langgraph.checkpoint.memory import InMemorySaver
from psycopg.types.json import Jsonb
from pydantic import ValidationError

from agent_api.importing.states import Rebuilt, rebuild
from project4_agent_api.app_state import ApiState
from project4_agent_api.assistants.schemas import AssistantCreate, AssistantPatch
from project4_agent_api.core.postgres import connected, execute, fetch_one
from project4_agent_api.core.serialization import dumps
from project4_agent_api.crons.schemas import CronCreate, ThreadCronCreate
from project4_agent_api.crons.service import CronLimits, create_cron
from shared.database.engine import transaction
from shared.errors import Conflict, NotFound, ServiceError

Json = dict[str, Any]
IMPORTED = "imported_from"  # a key of the metadata of crons, whose ids are the service's own
_INSERT_THREAD = """
    INSERT INTO threads (
        thread_id, owner_id, status, metadata, config, values, interrupts, error,
        created_at, updated_at, state_updated_at
    ) VALUES (
        %(thread_id)s, %(owner_id)s, %(status)s, %(metadata)s, %(config)s, %(values)s::jsonb, %(interrupts)s, %(error)s,
        %(created_at)s, %(updated_at)s, %(state_updated_at)s
    ) ON CONFLICT DO NOTHING
"""


class NotImported(Exception):
    """A thing cannot be imported. The message says why."""


@dataclass(frozen=True)
class Target:
    """The data of one user of this service."""

    state: ApiState
    owner_id: UUID

    async def has_thread(self, thread_id: str) -> bool:
        """Return whether the user has a thread.

        Raises:
            NotImported: if another user has it.
        """
        row = await fetch_one(self.state.pool, "SELECT owner_id FROM threads WHERE thread_id = %s", [thread_id])
        if row is not None and row["owner_id"] != self.owner_id:
            raise NotImported("its id is taken")
        return row is not None

    async def add_thread(
        self, thread: Json, states: list[Json], inner: Mapping[str, list[Json]] | None = None
    ) -> Rebuilt | None:
        """Store a thread with its states, in one transaction, and return the checkpoints that were made of them.

        Args:
            inner: The states inside subgraphs, by namespace.

        Raises:
            NotImported: if there is no such graph here.
        """
        thread_id = str(thread["thread_id"])
        rebuilt: Rebuilt | None = None
        if states:
            graph_id = str((thread.get("metadata") or {}).get("graph_id", ""))
            config: Any = {"configurable": {"graph_id": graph_id}}
            try:
                async with self.state.graphs.open(graph_id, config, checkpointer=None, store=None) as graph:
                    rebuilt = await rebuild(graph, thread_id, states, inner)
            except NotFound:
                raise NotImported(f"there is no graph {graph_id!r} here") from None
        async with connected(self.state.pool) as connection, connection.transaction():
            await execute(connection, _INSERT_THREAD, self._row(thread, states))
            if rebuilt:
                saver = self.state.checkpoints.in_transaction(connection)
                await _copy_checkpoints(rebuilt.saver, saver, thread_id)
        return rebuilt

    def _row(self, thread: Json, states: list[Json]) -> Json:
        status = thread.get("status")
        if status not in {"idle", "interrupted", "error"}:  # no run goes on here
            status = "interrupted" if states and states[-1]["next"] else "idle"
        values = thread.get("values") if thread.get("values") is not None else states[-1]["values"] if states else None
        error = thread.get("error")
        return {
            "thread_id": thread["thread_id"],
            "owner_id": self.owner_id,
            "status": status,
            "metadata": Jsonb(thread.get("metadata") or {}),
            "config": Jsonb(thread.get("config") or {}),
            "values": None if values is None else dumps(values).decode(),
            "interrupts": Jsonb(thread.get("interrupts") or {}),
            "error": Jsonb(error if isinstance(error, dict) else {"message": str(error)}) if error else None,
            "created_at": thread["created_at"],
            "updated_at": thread["updated_at"],
            "state_updated_at": thread.get("state_updated_at") or thread["updated_at"],
        }

    async def add_assistant(self, assistant: Json, versions: list[Json]) -> bool:
        """Store an assistant with its versions; return false if it exists.

        Raises:
            NotImported: if its id is taken, or its graph or configuration is refused.
        """
        assistant_id = UUID(assistant["assistant_id"])
        service = self.state.assistants
        first, *later = versions or [assistant]
        try:
            async with transaction(self.state.sessions) as session:
                try:
                    await service.get(session, self.owner_id, assistant_id)
                except NotFound:
                    pass
                else:
                    return False
                fields = _assistant_fields(first)
                body = AssistantCreate.model_validate(fields | {"assistant_id": assistant_id})
                await service.create(session, self.owner_id, body)
                for version in later:
                    patch = AssistantPatch.model_validate(_assistant_fields(version))
                    await service.update(session, self.owner_id, assistant_id, patch)
        except NotFound:
            raise NotImported(f"there is no graph {assistant['graph_id']!r} here") from None
        except (ServiceError, ValidationError) as error:
            raise NotImported(_reason(error)) from None
        return True

    async def add_item(self, item: Json) -> bool:
        """Store an item; return false if there is one with its key.

        Raises:
            NotImported: if it is refused, or its vectors cannot be computed.
        """
        store = self.state.store.for_owner(self.owner_id)
        namespace = tuple(item["namespace"])
        try:
            if await store.aget(namespace, item["key"]) is not None:
                return False
            await store.aput(namespace, item["key"], item["value"])
        except ServiceError as error:
            raise NotImported(error.detail) from None
        except ValueError as error:  # a namespace that LangGraph's store refuses
            raise NotImported(str(error)) from None
        return True

    async def add_cron(self, cron: Json) -> bool:
        """Store a cron; return false if it was imported before.

        Raises:
            NotImported: if its assistant or its thread is not here, or its schedule is refused.
        """
        query = "SELECT FROM crons WHERE owner_id = %s AND metadata @> %s"
        marker = {IMPORTED: cron["cron_id"]}
        if await fetch_one(self.state.pool, query, [self.owner_id, Jsonb(marker)]) is not None:
            return False
        settings = self.state.settings
        limits = CronLimits(settings.user_crons_max, settings.cron_interval_seconds)
        thread_id = cron.get("thread_id")
        try:
            body = (ThreadCronCreate if thread_id else CronCreate).model_validate(_cron_fields(cron, marker))
            async with transaction(self.state.sessions) as session:
                await self.state.assistants.ensure_built_in(self.state.sessions)
                await create_cron(
                    session,
                    self.owner_id,
                    self.state.assistants,
                    body,
                    UUID(thread_id) if thread_id else None,
                    limits=limits,
                )
        except (ServiceError, ValidationError) as error:
            raise NotImported(_reason(error)) from None
        return True


async def _copy_checkpoints(source: InMemorySaver, saver: Any, thread_id: str) -> None:  # noqa: ANN401  our saver
    batches = []
    stored: set[tuple[str, str, str]] = set()
    for stored_checkpoint in reversed(list(source.list({"configurable": {"thread_id": thread_id}}))):
        parent = (stored_checkpoint.parent_config or {}).get("configurable", {}).get("checkpoint_id")
        namespace = stored_checkpoint.config["configurable"]["checkpoint_ns"]
        location: Json = {"thread_id": thread_id, "checkpoint_ns": namespace}
        versions: Mapping[str, Any] = stored_checkpoint.checkpoint["channel_versions"]
        new = {name: version for name, version in versions.items() if (namespace, name, str(version)) not in stored}
        stored.update((namespace, name, str(version)) for name, version in new.items())
        config = {"configurable": location | {"checkpoint_id": parent}}
        batches.append(
            saver.enqueue_checkpoint(config, stored_checkpoint.checkpoint, stored_checkpoint.metadata, new, claim=None)
        )
        own = {"configurable": location | {"checkpoint_id": stored_checkpoint.checkpoint["id"]}}
        by_task: dict[str, list[tuple[str, Any]]] = {}
        for task_id, channel, value in stored_checkpoint.pending_writes or []:
            by_task.setdefault(task_id, []).append((channel, value))
        batches += [saver.enqueue_writes(own, writes, task_id, "", None) for task_id, writes in by_task.items()]
    for batch in {id(batch): batch for batch in batches}.values():
        await batch.wait(thread_id, claim=None)


def _assistant_fields(source: Json) -> Json:
    fields = {name: source.get(name) for name in ("graph_id", "name", "description", "metadata")}
    config, context = source.get("config") or {}, source.get("context") or {}
    if config.get("configurable"):  # LangGraph's server shows the context in both
        context = {}
    return {name: value for name, value in {**fields, "config": config, "context": context}.items() if value}


def _cron_fields(cron: Json, marker: Json) -> Json:
    payload: Json = dict(cron.get("payload") or {})
    configurable = dict((payload.get("config") or {}).get("configurable") or {})
    configurable.pop("cron_id", None)
    payload["config"] = {**(payload.get("config") or {}), "configurable": configurable}
    fields = ("assistant_id", "schedule", "timezone", "end_time", "enabled", "on_run_completed")
    shown = {name: cron[name] for name in fields if cron.get(name) is not None}
    metadata = {**(payload.get("metadata") or {}), **(cron.get("metadata") or {}), **marker}
    return {**payload, **shown, "metadata": metadata}


def _reason(error: ServiceError | ValidationError) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return "its id is taken" if isinstance(error, Conflict) else error.detail
