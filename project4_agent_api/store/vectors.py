"""Make sure that the stored vectors are those of the configured embedding model."""

import contextlib
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from project3_rag_docs.settings import Settings
from project4_agent_api.core.postgres import execute, fetch_one
from project4_agent_api.store.repository import VectorColumn, load_vector_column, store_vector_model
from shared.database.driver import conninfo
from shared.database.errors import database_errors
from shared.errors import ConfigurationError, DatabaseUnavailable


async def check_store(settings: Settings) -> None:
    """Check at startup that no other model has embedded the items. An unavailable database is not waited for.

    Raises:
        ConfigurationError: with one line that names the command to run.
    """
    with contextlib.suppress(DatabaseUnavailable), database_errors():  # checked again before each embedding
        async with await AsyncConnection.connect(
            conninfo(settings, session=True),
            autocommit=True,
            row_factory=dict_row,
        ) as connection:
            await claim_vectors(connection, settings)


async def claim_vectors(connection: AsyncConnection[Any], settings: Settings) -> None:
    """Check that the stored vectors are of the configured model. An empty table is altered to fit it.

    Raises:
        ConfigurationError: if there are vectors of another model.
    """
    wanted = configured_column(settings)
    if await load_vector_column(connection) == wanted:
        return
    async with connection.transaction():
        await execute(connection, "LOCK TABLE store_vectors IN ACCESS EXCLUSIVE MODE")
        stored = await load_vector_column(connection)
        if stored is None or stored == wanted:
            return  # another process was faster
        if await fetch_one(connection, "SELECT FROM store_vectors LIMIT 1") is not None:
            raise ConfigurationError(
                f"the store's items are embedded by {stored.model} ({stored.type}), and EMBEDDING_MODEL is now "
                f"{wanted.model} ({wanted.type}); `python -m project4_agent_api reindex` embeds them again"
            )
        await execute(connection, f"ALTER TABLE store_vectors ALTER COLUMN embedding TYPE {wanted.type}")
        await store_vector_model(connection, settings.embedding_model)


def configured_column(settings: Settings) -> VectorColumn:
    """Return the column of vectors that the settings require."""
    return VectorColumn(f"halfvec({settings.embedding_dimensions:d})", settings.embedding_model)
