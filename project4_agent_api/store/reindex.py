"""`python -m project4_agent_api reindex`: another embedding model, for the documents and for what is remembered.

The new vectors are made beside the old ones, so what is remembered can be found meanwhile, and a run that was ended
goes on where it was. The last step takes them into use in one transaction.
"""

import asyncio
import sys
from typing import Any

from langchain_core.embeddings import Embeddings
from langgraph.store.base import get_text_at_path
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow

from project3_rag_docs.search import reindex as documents
from project3_rag_docs.search.embedding import create_embedding_model
from project4_agent_api.settings import Settings
from project4_agent_api.store.vectors import (
    as_sql,
    check_store,
    embedded,
    made_with,
    rows_of,
    say_made_with,
    wanted_vectors,
)
from shared.database.driver import libpq_url
from shared.database.errors import database_errors
from shared.errors import ConfigurationError, ServiceError
from shared.models.client import create_http_client
from shared.settings import load_settings

_NEW = "new_embedding"


async def reindex_store(connection: AsyncConnection[Any], settings: Settings, embeddings: Embeddings) -> int:
    """Embed everything that is remembered with the model that the settings name.

    Args:
        connection: To the database, in autocommit mode, and with time for its statements.
        settings: The stage's.
        embeddings: The model.

    Returns:
        How many texts were embedded.

    Raises:
        ModelUnavailable, ModelTimeout: see `shared.errors`. What was embedded until then is kept for the next run.
    """
    wanted = wanted_vectors(settings)
    if await made_with(connection) == wanted:
        return 0
    await _prepare(connection, wanted)
    done = 0
    while not await _take_into_use(connection, wanted):
        while batch := await rows_of(connection, _LEFT, [settings.embedding_batch_size]):
            texts = [_text_of(row) for row in batch]
            vectors = await embedded(embeddings, settings, settings.passage_prefix(), texts)
            async with connection.cursor() as cursor:
                await cursor.executemany(
                    _UPDATE,
                    [
                        (vector, row["prefix"], row["key"], row["field_name"], row["updated_at"])
                        for row, vector in zip(batch, vectors, strict=True)
                    ],
                )
            done += len(batch)
    return done


_LEFT = """
    SELECT prefix, key, field_name, store_vectors.updated_at, value FROM store_vectors JOIN store USING (prefix, key)
    WHERE new_embedding IS NULL LIMIT %s
"""
# What was put again meanwhile has another moment, and its turn later.
_UPDATE = """
    UPDATE store_vectors SET new_embedding = %s
    WHERE prefix = %s AND key = %s AND field_name = %s AND updated_at = %s
"""


async def _prepare(connection: AsyncConnection[Any], wanted: tuple[str, str]) -> None:
    """Make the column, unless an earlier run has."""
    async with connection.transaction():
        if await made_with(connection, _NEW) == wanted:
            return
        await connection.execute("ALTER TABLE store_vectors DROP COLUMN IF EXISTS new_embedding")
        await connection.execute(as_sql(f"ALTER TABLE store_vectors ADD COLUMN new_embedding {wanted[0]}"))
        await say_made_with(connection, wanted[1], _NEW)


async def _take_into_use(connection: AsyncConnection[Any], wanted: tuple[str, str]) -> bool:
    """Put the new vectors in place of the old ones, if they are all there."""
    async with connection.transaction():
        await connection.execute("LOCK TABLE store_vectors IN ACCESS EXCLUSIVE MODE")
        if await rows_of(connection, "SELECT FROM store_vectors WHERE new_embedding IS NULL LIMIT 1", []):
            return False
        await connection.execute("ALTER TABLE store_vectors DROP COLUMN embedding")
        await connection.execute(
            sql.SQL("ALTER TABLE store_vectors RENAME COLUMN {} TO embedding").format(sql.Identifier(_NEW))
        )
        await say_made_with(connection, wanted[1])
    return True


def _text_of(row: DictRow) -> str:
    """Return the text that a vector was made from: what is at its path, or of several there the one with its number."""
    path: str = row["field_name"]
    texts = get_text_at_path(row["value"], path)
    if len(texts) == 1:
        return texts[0]
    path, _, number = path.rpartition(".")
    return get_text_at_path(row["value"], path)[int(number)]


async def check_models(settings: Settings) -> None:
    """Refuse to start on what another model has embedded. A database that is away is not waited for.

    Raises:
        ConfigurationError: with one line that says how to go on.
    """
    await documents.check_index(settings)
    await check_store(settings)


def reindex() -> int:
    """Embed every document, and everything that is remembered, with the model that the settings name.

    Returns:
        An exit status: 0; or 2 after one line that says what is wrong.
    """
    if status := documents.reindex():
        return status
    try:
        with database_errors():
            done = asyncio.run(_reindex(load_settings(Settings)))
    except (ConfigurationError, ServiceError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  a command talks to a terminal
        return 2
    print(f"what is remembered is embedded, {done:,} texts of it anew")  # noqa: T201
    return 0


async def _reindex(settings: Settings) -> int:
    async with (
        create_http_client(settings) as http,
        await AsyncConnection.connect(
            libpq_url(settings), autocommit=True, connect_timeout=settings.db_connect_timeout_seconds
        ) as connection,
    ):
        return await reindex_store(connection, settings, create_embedding_model(settings, http))
