"""`python -m project4_agent_api reindex`: embed the documents and the store with another model.

The new vectors are stored in a second column, so searches go on, and an interrupted command resumes. The last step
replaces the old column in one transaction.
"""

import asyncio
import sys
from typing import Any

from langchain_core.embeddings import Embeddings
from langgraph.store.base import get_text_at_path
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from project3_rag_docs.search import reindex as documents
from project3_rag_docs.search.embedding import create_embedding_model
from project3_rag_docs.settings import Settings as Stage3Settings
from project4_agent_api.core.postgres import Row, execute, fetch_all, fetch_one
from project4_agent_api.graphs import langgraph_json
from project4_agent_api.settings import Settings
from project4_agent_api.store.indexing import embed
from project4_agent_api.store.project_index import NO_OPTIONS, StoreOptions, store_settings
from project4_agent_api.store.repository import VectorColumn, load_vector_column, store_vector_model
from project4_agent_api.store.vectors import check_store, configured_column
from shared.database.driver import conninfo
from shared.database.errors import database_errors
from shared.errors import ConfigurationError, ServiceError
from shared.models.client import create_http_client
from shared.settings import load_settings

_NEW_COLUMN = "new_embedding"


async def reindex_store(connection: AsyncConnection[Any], settings: Stage3Settings, embeddings: Embeddings) -> int:
    """Embed all items with the configured model, and return the number of texts.

    Args:
        connection: In autocommit mode, with dictionaries as rows, and without a limit on statements.
        settings: Name the model.

    Raises:
        ModelUnavailable, ModelTimeout: see `shared.errors`. Vectors that are already stored are kept for the next call.
    """
    wanted = configured_column(settings)
    if await load_vector_column(connection) == wanted:
        return 0
    await _prepare_column(connection, wanted)
    done = 0
    while not await _replace_column(connection, settings):
        while batch := await fetch_all(connection, _NEXT_BATCH, [settings.embedding_batch_size]):
            texts = [_text_of(row) for row in batch]
            vectors = await embed(embeddings, settings, settings.passage_prefix(), texts)
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


_NEXT_BATCH = """
    SELECT prefix, key, field_name, store_vectors.updated_at, value FROM store_vectors JOIN store USING (prefix, key)
    WHERE new_embedding IS NULL LIMIT %s
"""
# An item that was put again since then has another `updated_at`, and is in a later batch.
_UPDATE = """
    UPDATE store_vectors SET new_embedding = %s
    WHERE prefix = %s AND key = %s AND field_name = %s AND updated_at = %s
"""


async def _prepare_column(connection: AsyncConnection[Any], wanted: VectorColumn) -> None:
    """Add the second column, unless an interrupted command has added it."""
    async with connection.transaction():
        if await load_vector_column(connection, _NEW_COLUMN) == wanted:
            return
        await execute(connection, "ALTER TABLE store_vectors DROP COLUMN IF EXISTS new_embedding")
        await execute(connection, f"ALTER TABLE store_vectors ADD COLUMN new_embedding {wanted.type}")
        await store_vector_model(connection, wanted.model or "", _NEW_COLUMN)


async def _replace_column(connection: AsyncConnection[Any], settings: Stage3Settings) -> bool:
    """Replace the old column with the new one if every row has a new vector; otherwise return False."""
    async with connection.transaction():
        await execute(connection, "LOCK TABLE store_vectors IN ACCESS EXCLUSIVE MODE")
        if await fetch_one(connection, "SELECT FROM store_vectors WHERE new_embedding IS NULL LIMIT 1") is not None:
            return False
        await execute(connection, "ALTER TABLE store_vectors DROP COLUMN embedding")
        await execute(connection, "ALTER TABLE store_vectors RENAME COLUMN new_embedding TO embedding")
        await store_vector_model(connection, settings.embedding_model)
    return True


def _text_of(row: Row) -> str:
    """Return the text of a vector: at its path, or the numbered one if the path matches several texts."""
    path: str = row["field_name"]
    texts = get_text_at_path(row["value"], path)
    if len(texts) == 1:
        return texts[0]
    path, _, number = path.rpartition(".")
    return get_text_at_path(row["value"], path)[int(number)]


async def check_models(settings: Settings) -> None:
    """Check at startup that no other model has embedded documents or items. An unavailable database is not waited for.

    Raises:
        ConfigurationError: with one line that names the command to run.
    """
    await documents.check_index(settings)
    await check_store(store_settings(settings))


def reindex() -> int:
    """Embed all documents and all items of the store with the configured model.

    Returns:
        An exit status: 0; or 2 after one line that names the error.
    """
    if status := documents.reindex():
        return status
    try:
        with database_errors():
            done = asyncio.run(_reindex(load_settings(Settings)))
    except (ConfigurationError, ServiceError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  a command talks to a terminal
        return 2
    print(f"the store is embedded with the configured model; {done:,} texts were embedded now")  # noqa: T201  an operator's command
    return 0


async def _reindex(settings: Settings) -> int:
    async with (
        create_http_client(settings) as http,
        await AsyncConnection.connect(
            conninfo(settings, session=True),
            autocommit=True,
            row_factory=dict_row,
        ) as connection,
    ):
        path = langgraph_json.find(settings.langgraph_config)
        options = StoreOptions.load(langgraph_json.read(path)) if path else NO_OPTIONS
        embeddings = options.embeddings or create_embedding_model(settings, http)
        return await reindex_store(connection, store_settings(settings), embeddings)
