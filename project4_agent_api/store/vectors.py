"""The vectors by which what is remembered is found: made by the embedding model, and whose they are."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.embeddings import Embeddings
from langgraph.store.base import PutOp
from langgraph.store.base.embed import get_text_at_path
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow, dict_row

from project3_rag_docs.settings import Settings
from shared.database.engine import database_errors, plain_address
from shared.errors import ConfigurationError, DatabaseUnavailable, InvalidRequest

_LONGEST_TEXT = 8_000  # characters; models read some thousand at most, and the beginning tells what it is about
_MOST_FIELDS = 20  # that are named
_MOST_TEXTS = 100  # that one item is found by
_WHOLE_ITEM = "$"


@dataclass(frozen=True, slots=True)
class FoundBy:
    """A text by which an item is found.

    Attributes:
        prefix: The item's namespace, as it is stored.
        key: The item's.
        field: Where in the item it is: a path, with a number behind it where several texts are there.
        text: Its beginning, which is what counts.
    """

    prefix: str
    key: str
    field: str
    text: str


def found_by(puts: Sequence[PutOp]) -> list[FoundBy]:
    """Return what items are found by, each place once; of an item that is put twice what the last one says.

    Raises:
        InvalidRequest: if that is too much for one of them.
    """
    last = {(op.namespace, op.key): op for op in puts}
    found: dict[tuple[str, str, str], FoundBy] = {}
    for op in last.values():
        if op.value is None or op.index is False:
            continue
        prefix = ".".join(op.namespace)
        for field, text in _texts(op.value, [_WHOLE_ITEM] if op.index is None else op.index):
            found.setdefault((prefix, op.key, field), FoundBy(prefix, op.key, field, text[:_LONGEST_TEXT]))
    return list(found.values())


def _texts(value: Mapping[str, Any], paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    # `{a,b}` in a path names two fields, each of which may be the whole item.
    if sum(path.count(",") + 1 for path in paths) > _MOST_FIELDS:
        raise InvalidRequest(f"An item can be found by {_MOST_FIELDS} fields, at most.")
    number = 0
    for path in dict.fromkeys(paths):
        texts = get_text_at_path(value, path)
        number += len(texts)
        if number > _MOST_TEXTS:
            raise InvalidRequest(f"An item can be found by {_MOST_TEXTS} texts, at most.")
        for place, text in enumerate(texts):
            yield (f"{path}.{place}" if len(texts) > 1 else path), text


async def embedded(embeddings: Embeddings, settings: Settings, prefix: str, texts: Sequence[str]) -> list[list[float]]:
    """Return a vector for each text, of which the beginning counts.

    Args:
        embeddings: The model.
        settings: How many texts it takes at once.
        prefix: What it wants before each of them.
        texts: Any number.

    Raises:
        ModelUnavailable, ModelTimeout: see `shared.errors`.
    """
    vectors: list[list[float]] = []
    for start in range(0, len(texts), settings.embedding_batch_size):
        batch = texts[start : start + settings.embedding_batch_size]
        vectors += await embeddings.aembed_documents([prefix + text[:_LONGEST_TEXT] for text in batch])
    return vectors


async def check_store(settings: Settings) -> None:
    """Refuse to start on memories that another model has embedded. A database that is away is not waited for.

    Raises:
        ConfigurationError: with one line that says how to go on.
    """
    with contextlib.suppress(DatabaseUnavailable), database_errors():  # looked at again before anything is embedded
        async with await AsyncConnection.connect(
            plain_address(settings), autocommit=True, connect_timeout=settings.db_connect_timeout_seconds
        ) as connection:
            await claim_vectors(connection, settings)


async def claim_vectors(connection: AsyncConnection[Any], settings: Settings) -> None:
    """Make sure that the stored vectors are of the model that the settings name; a table without any becomes its.

    Raises:
        ConfigurationError: if they are of another model.
    """
    wanted = wanted_vectors(settings)
    if await made_with(connection) == wanted:
        return
    async with connection.transaction():
        await connection.execute("LOCK TABLE store_vectors IN ACCESS EXCLUSIVE MODE")
        made = await made_with(connection)
        if made is None or made == wanted:
            return  # another process was faster
        if await rows_of(connection, "SELECT FROM store_vectors LIMIT 1", []):
            raise ConfigurationError(
                f"what the store remembers was embedded by {made[1]} ({made[0]}), and EMBEDDING_MODEL is now "
                f"{wanted[1]} ({wanted[0]}); `python -m project4_agent_api reindex` embeds it again"
            )
        await connection.execute(as_sql(f"ALTER TABLE store_vectors ALTER COLUMN embedding TYPE {wanted[0]}"))
        await say_made_with(connection, wanted[1])


async def made_with(connection: AsyncConnection[Any], column: str = "embedding") -> tuple[str, str | None] | None:
    """Return the type of a column of vectors, and the model that made them; None if there is no such column."""
    rows = await rows_of(
        connection,
        "SELECT format_type(atttypid, atttypmod) AS type, col_description(attrelid, attnum) AS model"
        " FROM pg_attribute WHERE attrelid = 'store_vectors'::regclass AND attname = %s AND NOT attisdropped",
        [column],
    )
    return (rows[0]["type"], rows[0]["model"]) if rows else None


def wanted_vectors(settings: Settings) -> tuple[str, str]:
    """Return what `made_with` says of vectors that go with the settings."""
    return f"halfvec({settings.embedding_dimensions:d})", settings.embedding_model


async def say_made_with(connection: AsyncConnection[Any], model: str, column: str = "embedding") -> None:
    """Write down whose vectors are in a column: with the column itself, so that both change together."""
    statement = sql.SQL("COMMENT ON COLUMN store_vectors.{} IS {}")
    await connection.execute(statement.format(sql.Identifier(column), sql.Literal(model)))


async def rows_of(connection: AsyncConnection[Any], statement: str, parameters: Sequence[Any]) -> list[DictRow]:
    """Return what a statement finds, row by row, by the columns' names."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(as_sql(statement), parameters)
        return await cursor.fetchall()


def as_sql(statement: str) -> Any:  # noqa: ANN401  the driver's own type takes literals only
    """Let a statement through that is put together from constants."""
    return statement
