"""LangGraph's store in PostgreSQL: items of any thread, with vector search, separate for each owner.

    OwnedStore       one owner's items, for graphs and the HTTP API: prefixes each namespace with the owner
      └── SharedStore    all items

`AsyncPostgresStore` is not used because it passes all operations of a process to one task, which runs them in batches:
an operation that fails (when the model is unavailable) fails others with it, and all wait, holding a connection, while
texts are embedded. Here each operation has its own connection, and none while it waits for the model. Other
differences: numbers are compared as numbers; vector search is exact, so its pages are consistent; putting an item
again removes its old vectors; a time to live can be a fraction of a minute.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

from langchain_core.embeddings import Embeddings
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchOp,
    validate_op_namespace,
)
from langgraph.store.postgres.base import BasePostgresStore
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from project3_rag_docs.settings import Settings
from project4_agent_api.core.bounded import Page
from project4_agent_api.core.postgres import execute, fetch_all
from project4_agent_api.core.storage import UNLIMITED, StorageQuota
from project4_agent_api.core.visibility import PROJECT_OWNER, is_project_user
from project4_agent_api.store.indexing import embed, indexed_texts
from project4_agent_api.store.project_index import DEFAULT_TTL, NO_OPTIONS, StoreOptions
from project4_agent_api.store.repository import replace_vectors, search_items, search_rows
from project4_agent_api.store.vectors import claim_vectors
from shared.database.errors import database_errors
from shared.errors import ConfigurationError, InvalidRequest, NotReady

# LangGraph's default: reading an item renews its time to live.
_TTL = DEFAULT_TTL


_NO_OBJECT: Any = object()  # the key of a value that is no object, in memory only
_NO_EMBEDDINGS = "none"  # EMBEDDING_MODEL of a project that needs no search by meaning


class SharedStore(BasePostgresStore[Any], BaseStore):
    """All owners' items. Graphs and routes use `for_owner`, never this.

    Args:
        pool: Connections in autocommit mode.
        settings: The embedding model's name, prefixes and dimensions.
        quota: The limit on an owner's storage.
        options: The project's fields and times to live.
        shared: Whether the users of a project with authorization of its own have one store, as in LangGraph's server.
    """

    supports_ttl = True

    def __init__(
        self,
        pool: AsyncConnectionPool[AsyncConnection[Any]],
        settings: Settings,
        embeddings: Embeddings,
        *,
        shared: bool = False,
        options: StoreOptions = NO_OPTIONS,
        quota: StorageQuota = UNLIMITED,
    ) -> None:
        self.conn = pool
        self.ttl_config = options.ttl or _TTL
        self.index_config = None
        self._fields = options.fields
        self._deserializer = None
        self._pool = pool
        self._embeddings = embeddings
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._shared = shared
        self._quota = quota

    def for_owner(self, owner_id: UUID) -> "OwnedStore":
        """Return the store of one owner, or the common one of a project's users."""
        return OwnedStore(self, PROJECT_OWNER if self._shared and is_project_user(owner_id) else owner_id)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Execute operations. Reads see the state before the writes.

        Raises:
            InvalidRequest: if a filter is malformed, or an item has too many indexed fields or texts.
            DatabaseUnavailable, ModelUnavailable, ModelTimeout: see `shared.errors`.
            NotReady: if the stored vectors are of another model.
            StorageQuotaExceeded: if the owner of an item to put stores too much.
        """
        operations = list(ops if self._settings.embedding_model != _NO_EMBEDDINGS else map(_without_vectors, ops))
        for op in operations:
            validate_op_namespace(op)
        # In a fixed order, so that concurrent puts of the same items do not deadlock.
        puts = sorted((op for op in operations if isinstance(op, PutOp)), key=lambda op: (op.namespace, op.key))
        put_statements = self._put_statements(puts)
        texts = indexed_texts(puts, self._fields)
        queries = [op.query for op in operations if isinstance(op, SearchOp) and op.query]
        # No connection is held while the model is awaited.
        vectors = await self._embed(self._settings.passage_prefix(), [text.text for text in texts])
        query_vectors = iter(await self._embed(self._settings.query_prefix(), queries))

        results: list[Result] = [None] * len(operations)
        with database_errors():
            async with self._pool.connection() as connection:
                if vectors or queries:
                    await _require_configured_model(connection, self._settings)
                gets = [(index, op) for index, op in enumerate(operations) if isinstance(op, GetOp)]
                await self._get(connection, gets, results)
                for index, op in enumerate(operations):
                    if isinstance(op, SearchOp):
                        results[index] = await search_items(connection, op, next(query_vectors) if op.query else None)
                    elif isinstance(op, ListNamespacesOp):
                        results[index] = await self._list_namespaces(connection, op)
                if puts:
                    async with connection.transaction():
                        for owner in {op.namespace[0] for op in puts if op.value is not None}:
                            await self._quota.require(connection, UUID(owner))
                        for statement, parameters in put_statements:
                            await execute(connection, statement, parameters)
                        await replace_vectors(connection, puts, texts, vectors)
        return results

    async def search_rows(self, op: SearchOp) -> Page[dict[str, Any]]:
        """Return the rows of a search with encoded values. Raises what `abatch` raises."""
        vectors = await self._embed(self._settings.query_prefix(), [op.query] if op.query else [])
        with database_errors():
            async with self._pool.connection() as connection:
                if vectors:
                    await _require_configured_model(connection, self._settings)
                return await search_rows(connection, op, vectors[0] if vectors else None)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Execute operations from another thread than the event loop's, where synchronous tools run."""
        with contextlib.suppress(RuntimeError):  # no loop runs in this thread
            if asyncio.get_running_loop() is self._loop:
                raise asyncio.InvalidStateError("the event loop would wait for itself: use aget, aput, asearch, …")
        return asyncio.run_coroutine_threadsafe(self.abatch(ops), self._loop).result()

    async def _embed(self, prefix: str, texts: Sequence[str]) -> list[list[float]]:
        return await embed(self._embeddings, self._settings, prefix, texts)

    def _put_statements(self, puts: Sequence[PutOp]) -> list[tuple[str, Sequence[Any]]]:
        """Return LangGraph's statements for puts.

        They take objects only, as the API does. Graphs may store any JSON, as in LangGraph's development server.
        """
        statements, _ = self._prepare_batch_PUT_queries([(index, _with_object(op)) for index, op in enumerate(puts)])
        return [(statement, [_unwrapped(value) for value in parameters]) for statement, parameters in statements]

    async def _get(
        self, connection: AsyncConnection[Any], gets: Sequence[tuple[int, GetOp]], results: list[Result]
    ) -> None:
        for statement, parameters, namespace, keys in self._get_batch_GET_ops_queries(gets):
            rows = {row["key"]: row for row in await fetch_all(connection, statement, parameters)}
            for index, key in keys:
                if row := rows.get(key):
                    results[index] = Item(**row, namespace=namespace)

    async def _list_namespaces(self, connection: AsyncConnection[Any], op: ListNamespacesOp) -> list[tuple[str, ...]]:
        ((statement, parameters),) = self._get_batch_list_namespaces_queries([(0, op)])
        rows = await fetch_all(connection, statement, parameters)
        return [tuple(row["truncated_prefix"].split(".")) for row in rows]


def _with_object(op: PutOp) -> PutOp:
    value: object = op.value
    return op if value is None or isinstance(value, Mapping) else op._replace(value={_NO_OBJECT: value})


def _unwrapped(parameter: object) -> object:
    if isinstance(parameter, Jsonb) and _NO_OBJECT in parameter.obj:
        return Jsonb(parameter.obj[_NO_OBJECT])
    return parameter


def _without_vectors(op: Op) -> Op:
    if isinstance(op, SearchOp) and op.query:
        raise InvalidRequest("There is no search by meaning: EMBEDDING_MODEL is none.")
    return op._replace(index=False) if isinstance(op, PutOp) else op


async def _require_configured_model(connection: AsyncConnection[Any], settings: Settings) -> None:
    try:
        await claim_vectors(connection, settings)
    except ConfigurationError as error:
        raise NotReady("The store was embedded with another model.") from error


class OwnedStore(BaseStore):
    """One owner's items. The owner is the first label of every stored namespace, and hidden in results."""

    supports_ttl = True

    def __init__(self, shared: SharedStore, owner_id: UUID) -> None:
        self._shared = shared
        self.ttl_config = shared.ttl_config
        self.owner_id = str(owner_id)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Execute operations on this owner's items. Raises what `SharedStore.abatch` raises."""
        return [_hide_owner(result) for result in await self._shared.abatch([self._scope(op) for op in ops])]

    async def search_rows(self, op: SearchOp) -> Page[dict[str, Any]]:
        """Return the rows of a search in this owner's items, with encoded values, and namespaces as lists."""
        scoped = op._replace(namespace_prefix=(self.owner_id, *op.namespace_prefix))
        rows = await self._shared.search_rows(scoped)
        for row in rows:
            row["namespace"] = row.pop("prefix").split(".")[1:]
        return rows

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Execute operations from another thread than the event loop's."""
        return [_hide_owner(result) for result in self._shared.batch([self._scope(op) for op in ops])]

    def _scope(self, op: Op) -> Op:
        match op:
            case GetOp() | PutOp():
                return op._replace(namespace=(self.owner_id, *op.namespace))
            case SearchOp():
                return op._replace(namespace_prefix=(self.owner_id, *op.namespace_prefix))
            case ListNamespacesOp():
                return op._replace(
                    match_conditions=tuple(self._scope_conditions(op.match_conditions or ())),
                    max_depth=None if op.max_depth is None else op.max_depth + 1,
                )

    def _scope_conditions(self, conditions: Iterable[MatchCondition]) -> Iterable[MatchCondition]:
        yield MatchCondition("prefix", (self.owner_id,))
        for condition in conditions:
            if condition.match_type == "prefix":
                yield MatchCondition("prefix", (self.owner_id, *condition.path))
            else:
                yield condition
                # A leading wildcard of a suffix must not match the owner.
                yield MatchCondition("prefix", (self.owner_id, *("*" for _ in condition.path)))


def _hide_owner(result: Result) -> Result:
    if isinstance(result, list):
        return cast("Result", [_without_owner(found) for found in result])
    return cast("Result", _without_owner(result)) if result else result


def _without_owner(found: Item | tuple[str, ...]) -> Item | tuple[str, ...]:
    if isinstance(found, tuple):
        return found[1:]
    found.namespace = found.namespace[1:]
    return found
