"""`python -m project3_rag_docs reindex`: embed the stored documents with another model.

The new embeddings go into a separate table, so searches continue in the meantime, and an interrupted run resumes where
it stopped. The last step switches to the new embeddings in one transaction.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from uuid import UUID

from langchain_core.embeddings import Embeddings
from pgvector import HalfVector
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert as upsert

from project3_rag_docs.ingestion.chunking import indexed_text
from project3_rag_docs.models import EMBEDDING_INDEXES, SearchIndex
from project3_rag_docs.search.embedding import check_embedding_model, create_embedding_model
from project3_rag_docs.search.index import claim_index, load_index_model
from project3_rag_docs.settings import Settings
from shared.database.engine import Sessions, create_engine, create_session_factory, transaction
from shared.errors import ConfigurationError, DatabaseUnavailable, ServiceError
from shared.models.client import create_http_client
from shared.settings import load_settings

_STATEMENT_SECONDS = 24 * 3600  # building the index over millions of vectors takes hours


async def check_index(settings: Settings) -> None:
    """Refuse to start if the index belongs to another model, or the model's vectors do not fit into it.

    An unavailable database or model does not delay the start.

    Raises:
        ConfigurationError: with one line that explains what to do.
    """
    async with _sessions(settings) as sessions:
        try:
            async with transaction(sessions) as session:
                await claim_index(session, settings)
        except DatabaseUnavailable:
            pass  # every search and every write checks again
    await check_embedding_model(settings)


def reindex() -> int:
    """Embed every chunk with the model in the settings; return the exit status: 0, or 2 after a line with the error."""
    try:
        asyncio.run(_reindex(load_settings(Settings)))
    except (ConfigurationError, ServiceError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  a command talks to a terminal
        return 2
    return 0


async def _reindex(settings: Settings) -> None:
    wanted = (settings.embedding_model, settings.embedding_dimensions)
    async with _sessions(settings) as sessions, create_http_client(settings) as http:
        async with transaction(sessions) as session:
            if await load_index_model(session) == wanted:
                _print(f"nothing to do: the documents are already embedded by {wanted[0]}")
                return
        work = _Reindexing(sessions, create_embedding_model(settings, http), settings)
        await work.create_table()
        while not await work.switch_over():
            await work.embed_remaining()
    _print(f"the documents are now embedded by {wanted[0]}")


@asynccontextmanager
async def _sessions(settings: Settings) -> AsyncIterator[Sessions]:
    engine = create_engine(settings, statement_timeout=_STATEMENT_SECONDS)
    try:
        yield create_session_factory(engine)
    finally:
        await engine.dispose()


class _Reindexing:
    """The embeddings of the new model, in a separate table until they are complete."""

    def __init__(self, sessions: Sessions, embeddings: Embeddings, settings: Settings) -> None:
        self._sessions = sessions
        self._embeddings = embeddings
        self._settings = settings
        self._model, self._dimensions = settings.embedding_model, settings.embedding_dimensions
        model = f"{self._model} {self._dimensions}"
        self._table = f"reembedded_{sha256(model.encode()).hexdigest()[:12]}"

    async def create_table(self) -> None:
        """Create the table, unless an earlier run did."""
        async with transaction(self._sessions) as session:
            await session.execute(
                text(
                    f"CREATE TABLE IF NOT EXISTS {self._table} ("
                    " chunk_id uuid PRIMARY KEY REFERENCES chunks (id) ON DELETE CASCADE,"
                    f" embedding halfvec({self._dimensions}) NOT NULL)"
                )
            )

    async def embed_remaining(self) -> None:
        """Embed the chunks that are not in the table yet."""
        prefix = self._settings.passage_prefix()
        left = await self._count_remaining()
        done, after = 0, UUID(int=0)
        while batch := await self._next_batch(after):
            texts = [prefix + indexed_text(heading, content) for _, heading, content in batch]
            vectors = await self._embeddings.aembed_documents(texts)
            after = batch[-1][0]
            rows = [
                {"id": chunk_id, "vector": HalfVector(vector).to_text()}
                for (chunk_id, _, _), vector in zip(batch, vectors, strict=True)
            ]
            async with transaction(self._sessions) as session:
                await session.execute(
                    text(
                        f"INSERT INTO {self._table} SELECT id, CAST(:vector AS halfvec) FROM chunks WHERE id = :id"  # noqa: S608  the name is a hash
                        " ON CONFLICT DO NOTHING"
                    ),
                    rows,
                )
            done += len(batch)
            _print(f"{done:,} of {max(left, done):,} chunks")

    async def switch_over(self) -> bool:
        """Replace the old embeddings by the new ones if these are complete; searches are blocked in the meantime."""
        async with transaction(self._sessions) as session:
            await session.execute(text("LOCK TABLE chunks IN SHARE ROW EXCLUSIVE MODE"))
            if await session.scalar(text(f"SELECT EXISTS ({self._remaining_query()})")):
                return False
            for statement in (
                f"ALTER TABLE chunks ADD COLUMN new_embedding halfvec({self._dimensions})",
                f"UPDATE chunks SET new_embedding = made.embedding FROM {self._table} made WHERE made.chunk_id = id",  # noqa: S608  the name is a hash
                "ALTER TABLE chunks DROP COLUMN embedding",
                "ALTER TABLE chunks RENAME COLUMN new_embedding TO embedding",
                "ALTER TABLE chunks ALTER COLUMN embedding SET NOT NULL",
                f"DROP TABLE {self._table}",
            ):
                await session.execute(text(statement))
            connection = await session.connection()
            for index in EMBEDDING_INDEXES:  # they were dropped with the column
                await connection.run_sync(index.create)
            made = upsert(SearchIndex).values(id=1, model=self._model, dimensions=self._dimensions)
            values = {"model": self._model, "dimensions": self._dimensions}
            await session.execute(made.on_conflict_do_update(index_elements=["id"], set_=values))
        return True

    async def _count_remaining(self) -> int:
        async with transaction(self._sessions) as session:
            return await session.scalar(text(f"SELECT count(*) FROM ({self._remaining_query()}) AS missing")) or 0  # noqa: S608  the name is a hash

    async def _next_batch(self, after: UUID) -> list[tuple[UUID, str | None, str]]:
        statement = text(f"{self._remaining_query()} AND id > :after ORDER BY id LIMIT :limit")
        async with transaction(self._sessions) as session:
            parameters = {"after": after, "limit": self._settings.embedding_batch_size}
            return [(row.id, row.heading, row.text) for row in await session.execute(statement, parameters)]

    def _remaining_query(self) -> str:
        return (
            f"SELECT id, heading, text FROM chunks WHERE NOT EXISTS"  # noqa: S608  the name is a hash
            f" (SELECT FROM {self._table} WHERE chunk_id = id)"
        )


def _print(what: str) -> None:
    print(what, flush=True)  # noqa: T201  a command talks to a terminal
