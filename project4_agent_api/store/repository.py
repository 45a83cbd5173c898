"""The store's statements on LangGraph's tables `store` and `store_vectors`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from langgraph.store.base import PutOp, SearchItem, SearchOp
from psycopg import AsyncConnection, sql

from project4_agent_api.core.bounded import Page, fetch_page
from project4_agent_api.core.postgres import execute, fetch_one
from project4_agent_api.store.filters import filter_conditions
from project4_agent_api.store.indexing import IndexedText


class VectorColumn(NamedTuple):
    """The type of a column of vectors, and the embedding model that made them."""

    type: str
    model: str | None


async def search_items(
    connection: AsyncConnection[Any], op: SearchOp, query_vector: Sequence[float] | None
) -> list[SearchItem]:
    """Return the items of a search, as many as an answer may contain; see `search_rows`."""
    found = await search_rows(connection, op, query_vector)
    return [
        SearchItem(namespace=tuple(row.pop("prefix").split(".")), value=row.pop("value").decode_json(), **row)
        for row in found
    ]


async def search_rows(
    connection: AsyncConnection[Any], op: SearchOp, query_vector: Sequence[float] | None
) -> Page[dict[str, Any]]:
    """Return the rows of a search with encoded values, as many as an answer may contain.

    They are ordered by similarity to the query's vector, or without one the newest first.
    """
    prefix = ".".join(op.namespace_prefix)
    below = prefix.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + ".%"
    conditions, parameters = filter_conditions(op.filter or {})
    where = " AND ".join(
        [
            "(store.prefix = %s OR store.prefix LIKE %s)",
            "(store.expires_at IS NULL OR store.expires_at > now())",
            *conditions,
        ]
    )
    if query_vector is None:
        score, tables, grouping, order = "NULL::float8", "store", "", "store.updated_at DESC"
        score_parameters = []
    else:
        score, order = "1 - min(embedding <=> %s::halfvec)", "score DESC"
        tables, grouping = "store JOIN store_vectors USING (prefix, key)", "GROUP BY store.prefix, store.key"
        score_parameters = [list(query_vector)]
    return await fetch_page(
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
        """,  # noqa: S608  composed of constants
        [*score_parameters, prefix, below, *parameters, op.limit, op.offset, op.refresh_ttl],
    )


async def replace_vectors(
    connection: AsyncConnection[Any],
    puts: Sequence[PutOp],
    texts: Sequence[IndexedText],
    vectors: Sequence[Sequence[float]],
) -> None:
    """Replace the vectors of the items that are put."""
    items = [(".".join(op.namespace), op.key) for op in puts if op.value is not None]
    await execute(
        connection,
        "DELETE FROM store_vectors WHERE (prefix, key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))",
        ([prefix for prefix, _ in items], [key for _, key in items]),
    )
    if texts:
        row = sql.SQL("(%s, %s, %s, %s, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP)")
        await connection.execute(
            sql.SQL(
                "INSERT INTO store_vectors (prefix, key, field_name, embedding, created_at, updated_at) VALUES {}"
            ).format(sql.SQL(", ").join([row] * len(texts))),
            [
                value
                for text, vector in zip(texts, vectors, strict=True)
                for value in (text.prefix, text.key, text.field, list(vector))
            ],
        )


async def load_vector_column(connection: AsyncConnection[Any], name: str = "embedding") -> VectorColumn | None:
    """Return a column of `store_vectors`, or None if it does not exist."""
    row = await fetch_one(
        connection,
        "SELECT format_type(atttypid, atttypmod) AS type, col_description(attrelid, attnum) AS model"
        " FROM pg_attribute WHERE attrelid = 'store_vectors'::regclass AND attname = %s AND NOT attisdropped",
        [name],
    )
    return VectorColumn(**row) if row else None


async def store_vector_model(connection: AsyncConnection[Any], model: str, column: str = "embedding") -> None:
    """Store the model of a column of vectors as the column's comment, so that both change together."""
    statement = sql.SQL("COMMENT ON COLUMN store_vectors.{} IS {}")
    await connection.execute(statement.format(sql.Identifier(column), sql.Literal(model)))
