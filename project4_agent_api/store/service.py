"""What is remembered across threads: LangGraph's store in PostgreSQL, with search by meaning, each owner's apart.

    OwnedStore   one owner's: what a graph is given, and what the HTTP API shows. Puts the owner before each namespace
      └── SharedStore   everyone's: the statements on LangGraph's tables

`AsyncPostgresStore` would do, but it hands all operations of a process to one task, which runs them in batches: one
that fails (a model that is away) fails those of others, and while texts are embedded everybody waits, a connection with
them. Here an operation has its own connection, and none while a model is awaited. What differs besides: numbers are
compared as numbers; a search by meaning is exact, so that a later page is one; what an item was found by goes when it
is put again; time to live may be a part of a minute.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
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
    SearchItem,
    SearchOp,
    TTLConfig,
    validate_op_namespace,
)
from langgraph.store.postgres.base import BasePostgresStore
from psycopg import AsyncConnection, sql
from psycopg_pool import AsyncConnectionPool

from project3_rag_docs.settings import Settings
from project4_agent_api.store.filters import conditions_of
from project4_agent_api.store.vectors import FoundBy, as_sql, claim_vectors, embedded, found_by, rows_of
from shared.database.errors import database_errors
from shared.errors import ConfigurationError, NotReady

Parameters = list[Any]

# LangGraph's default: reading something lets it live on.
_TTL: TTLConfig = {"refresh_on_read": True, "omit_expired": True}


class SharedStore(BasePostgresStore[Any], BaseStore):
    """Everyone's items. Give out `of(owner_id)`, never this.

    Args:
        pool: Connections to the database, in autocommit mode.
        settings: What the embedding model wants before its texts, and how long its vectors are.
        embeddings: The model.
    """

    supports_ttl = True

    def __init__(
        self, pool: AsyncConnectionPool[AsyncConnection[Any]], settings: Settings, embeddings: Embeddings
    ) -> None:
        self.conn = pool
        self.ttl_config = _TTL
        self.index_config = None
        self._deserializer = None
        self._pool = pool
        self._embeddings = embeddings
        self._settings = settings
        self._loop = asyncio.get_running_loop()

    def for_owner(self, owner_id: UUID) -> "OwnedStore":
        """Return one owner's items."""
        return OwnedStore(self, owner_id)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Do operations: what they read is as it was before what they write.

        Raises:
            InvalidRequest: if a filter makes no sense, or there is too much to find an item by.
            DatabaseUnavailable, ModelUnavailable, ModelTimeout: see `shared.errors`.
            NotReady: if the stored vectors are of another model.
        """
        wanted = list(ops)
        for op in wanted:
            validate_op_namespace(op)
        # Whoever puts several does so in this order, so that two who put the same do not wait for each other.
        puts = sorted((op for op in wanted if isinstance(op, PutOp)), key=lambda op: (op.namespace, op.key))
        statements, _ = self._prepare_batch_PUT_queries(list(enumerate(puts)))
        places = found_by(puts)
        texts = [place.text for place in places]
        questions = [op.query for op in wanted if isinstance(op, SearchOp) and op.query]
        # No connection is held while the model is awaited.
        vectors = await embedded(self._embeddings, self._settings, self._settings.passage_prefix(), texts)
        asked = iter(await embedded(self._embeddings, self._settings, self._settings.query_prefix(), questions))

        results: list[Result] = [None] * len(wanted)
        with database_errors():
            async with self._pool.connection() as connection:
                if vectors or questions:
                    await _require_our_vectors(connection, self._settings)
                gets = [(place, op) for place, op in enumerate(wanted) if isinstance(op, GetOp)]
                await self._get(connection, gets, results)
                for place, op in enumerate(wanted):
                    if isinstance(op, SearchOp):
                        results[place] = await _searched(connection, op, next(asked) if op.query else None)
                    elif isinstance(op, ListNamespacesOp):
                        results[place] = await self._listed(connection, op)
                if puts:
                    async with connection.transaction():
                        for statement, parameters in statements:
                            await connection.execute(as_sql(statement), parameters)
                        await _replace_vectors(connection, puts, places, vectors)
        return results

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do operations from another thread than the event loop's, where tools that are not `async` run."""
        with contextlib.suppress(RuntimeError):  # no loop runs in this thread
            if asyncio.get_running_loop() is self._loop:
                raise asyncio.InvalidStateError("the event loop would wait for itself: use aget, aput, asearch, …")
        return asyncio.run_coroutine_threadsafe(self.abatch(ops), self._loop).result()

    async def _get(
        self, connection: AsyncConnection[Any], gets: Sequence[tuple[int, GetOp]], results: list[Result]
    ) -> None:
        for statement, parameters, namespace, places in self._get_batch_GET_ops_queries(gets):
            rows = {row["key"]: row for row in await rows_of(connection, statement, list(parameters))}
            for place, key in places:
                if row := rows.get(key):
                    results[place] = Item(**row, namespace=namespace)

    async def _listed(self, connection: AsyncConnection[Any], op: ListNamespacesOp) -> list[tuple[str, ...]]:
        ((statement, parameters),) = self._get_batch_list_namespaces_queries([(0, op)])
        rows = await rows_of(connection, statement, list(parameters))
        return [tuple(row["truncated_prefix"].split(".")) for row in rows]


class OwnedStore(BaseStore):
    """One owner's items, as if there were no others."""

    supports_ttl = True
    ttl_config = _TTL

    def __init__(self, shared: SharedStore, owner_id: UUID) -> None:
        self._shared = shared
        self.owner_id = str(owner_id)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Do operations on this owner's items. Raises what `SharedStore.abatch` does."""
        return [_shown(result) for result in await self._shared.abatch([self._scoped(op) for op in ops])]

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do operations from another thread than the event loop's."""
        return [_shown(result) for result in self._shared.batch([self._scoped(op) for op in ops])]

    def _scoped(self, op: Op) -> Op:
        match op:
            case GetOp() | PutOp():
                return op._replace(namespace=(self.owner_id, *op.namespace))
            case SearchOp():
                return op._replace(namespace_prefix=(self.owner_id, *op.namespace_prefix))
            case ListNamespacesOp():
                return op._replace(
                    match_conditions=tuple(self._conditions(op.match_conditions or ())),
                    max_depth=None if op.max_depth is None else op.max_depth + 1,
                )

    def _conditions(self, conditions: Iterable[MatchCondition]) -> Iterable[MatchCondition]:
        yield MatchCondition("prefix", (self.owner_id,))
        for condition in conditions:
            if condition.match_type == "prefix":
                yield MatchCondition("prefix", (self.owner_id, *condition.path))
            else:
                yield condition
                # A wildcard at its beginning must not stand for the owner.
                yield MatchCondition("prefix", (self.owner_id, *("*" for _ in condition.path)))


def _shown(result: Result) -> Result:
    if isinstance(result, list):
        return cast("Result", [_without_owner(one) for one in result])
    return cast("Result", _without_owner(result)) if result else result


def _without_owner(found: Item | tuple[str, ...]) -> Item | tuple[str, ...]:
    if isinstance(found, tuple):
        return found[1:]
    found.namespace = found.namespace[1:]
    return found


async def _require_our_vectors(connection: AsyncConnection[Any], settings: Settings) -> None:
    try:
        await claim_vectors(connection, settings)
    except ConfigurationError as error:
        raise NotReady("What is remembered was embedded by another model.") from error


async def _replace_vectors(
    connection: AsyncConnection[Any],
    puts: Sequence[PutOp],
    places: Sequence[FoundBy],
    vectors: Sequence[Sequence[float]],
) -> None:
    items = [(".".join(op.namespace), op.key) for op in puts if op.value is not None]
    await connection.execute(
        "DELETE FROM store_vectors WHERE (prefix, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))",
        ([prefix for prefix, _ in items], [key for _, key in items]),
    )
    if places:
        row = sql.SQL("(%s, %s, %s, %s, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)")
        await connection.execute(
            sql.SQL(
                "INSERT INTO store_vectors (prefix, key, field_name, embedding, created_at, updated_at) VALUES {}"
            ).format(sql.SQL(", ").join([row] * len(places))),
            [
                part
                for place, vector in zip(places, vectors, strict=True)
                for part in (place.prefix, place.key, place.field, list(vector))
            ],
        )


async def _searched(
    connection: AsyncConnection[Any], op: SearchOp, question: Sequence[float] | None
) -> list[SearchItem]:
    prefix = ".".join(op.namespace_prefix)
    below = prefix.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + ".%"
    conditions, parameters = conditions_of(op.filter or {})
    where = " AND ".join(
        [
            "(store.prefix = %s OR store.prefix LIKE %s)",
            "(store.expires_at IS NULL OR store.expires_at > now())",
            *conditions,
        ]
    )
    if question is None:
        score, tables, grouping, order = "NULL::float8", "store", "", "store.updated_at DESC"
        asked: Parameters = []
    else:
        score, order = "1 - min(embedding <=> %s::halfvec)", "score DESC"
        tables, grouping = "store JOIN store_vectors USING (prefix, key)", "GROUP BY store.prefix, store.key"
        asked = [list(question)]
    rows = await rows_of(
        connection,
        f"""
        WITH found AS (
            SELECT store.prefix, store.key, {score} AS score FROM {tables} WHERE {where} {grouping}
            ORDER BY {order}, store.prefix, store.key LIMIT %s OFFSET %s
        ), refreshed AS (
            UPDATE store SET expires_at = now() + (ttl_minutes || ' minutes')::interval FROM found
            WHERE %s AND store.prefix = found.prefix AND store.key = found.key AND ttl_minutes IS NOT NULL
        )
        SELECT prefix, key, value, created_at, updated_at, score FROM found JOIN store USING (prefix, key)
        ORDER BY {order}, prefix, key
        """,  # noqa: S608  put together from the constants above
        [*asked, prefix, below, *parameters, op.limit, op.offset, op.refresh_ttl],
    )
    return [SearchItem(namespace=tuple(row.pop("prefix").split(".")), **row) for row in rows]
