"""The tags and the metadata that documents have, to choose from."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession


async def list_tags(
    session: AsyncSession, owner_id: UUID, *, collection_id: UUID | None, limit: int
) -> Sequence[tuple[str, int]]:
    """Return the most frequent tags of an owner's documents, with the number of documents, by name.

    Args:
        collection_id: Only of the documents in this collection.
    """
    rows = await session.execute(_TAGS, {"owner": owner_id, "collection": collection_id, "limit": limit})
    return sorted((tag, count) for tag, count in rows)


async def list_metadata(
    session: AsyncSession, owner_id: UUID, *, collection_id: UUID | None, limit: int, values: int
) -> Sequence[tuple[str, int, list[Any]]]:
    """Return the most frequent names in the metadata of an owner's documents, by name.

    Args:
        collection_id: Only of the documents in this collection.
        limit: The number of names.
        values: The number of values of each name.

    Returns:
        Each name, the number of documents that have it, and its most frequent values, without long texts.
    """
    parameters = {"owner": owner_id, "collection": collection_id, "limit": limit, "values": values}
    return sorted((name, count, found) for name, count, found in await session.execute(_METADATA, parameters))


_LISTED = """
    owner_id = :owner AND status <> 'deleted' AND NOT replaces
    AND (CAST(:collection AS uuid) IS NULL OR collection_id = :collection)
"""
_TAGS = text(f"""
    SELECT tag, count(*) FROM documents, unnest(tags) AS tag
    WHERE {_LISTED} GROUP BY tag ORDER BY count(*) DESC, tag LIMIT :limit
""")  # noqa: S608  no value in it
_METADATA = text(f"""
    WITH counted AS (
        SELECT name, value, count(*) AS times,
            row_number() OVER (PARTITION BY name ORDER BY count(*) DESC, value) AS place
        FROM documents, jsonb_each(metadata) AS entry (name, value) WHERE {_LISTED} GROUP BY name, value
    )
    SELECT name, CAST(sum(times) AS bigint),
        coalesce(jsonb_agg(value ORDER BY place) FILTER (WHERE place <= :values AND length(value #>> '{{}}') <= 200),
            '[]')
    FROM counted GROUP BY name ORDER BY 2 DESC, name LIMIT :limit
""")  # noqa: S608  no value in it
