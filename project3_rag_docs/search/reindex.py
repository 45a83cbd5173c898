"""`python -m project3_rag_docs reindex`: another embedding model for the documents that are there.

The new embeddings are made beside the old ones, so the documents can be searched meanwhile, and a run that was ended
goes on where it was. The last step takes them into use in one transaction.
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

from project3_rag_docs.ingestion.chunking import in_context
from project3_rag_docs.models import EMBEDDING_INDEXES, SearchIndex
from project3_rag_docs.search.embedding import embedding_model
from project3_rag_docs.search.index import claim_index, made_with
from project3_rag_docs.settings import Settings
from shared.database.engine import Sessions, create_engine, create_sessions, transaction
from shared.errors import ConfigurationError, DatabaseUnavailable, ServiceError
from shared.models.chat import create_http_client
from shared.settings import load_settings

_BUILD_SECONDS = 24 * 3600  # for one statement: building the index over millions of vectors takes hours


async def check_index(settings: Settings) -> None:
    """Refuse to start on an index of another model. A database that is away is not waited for.

    Raises:
        ConfigurationError: with one line that says how to go on.
    """
    async with _sessions(settings) as sessions:
        try:
            async with transaction(sessions) as session:
                await claim_index(session, settings)
        except DatabaseUnavailable:
            return  # looked at again before anything is searched or stored


def reindex() -> int:
    """Embed every chunk with the model that the settings name.

    Returns:
        An exit status: 0; or 2 after one line that says what is wrong.
    """
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
            if await made_with(session) == wanted:
                _say(f"nothing to do: the documents were embedded by {wanted[0]}")
                return
        work = _Work(sessions, embedding_model(settings, http), settings)
        await work.prepare()
        while not await work.take_into_use():
            await work.embed_the_rest()
    _say(f"the documents are embedded by {wanted[0]} now")


@asynccontextmanager
async def _sessions(settings: Settings) -> AsyncIterator[Sessions]:
    engine = create_engine(settings, statement_seconds=_BUILD_SECONDS)
    try:
        yield create_sessions(engine)
    finally:
        await engine.dispose()


class _Work:
    """The embeddings of one model, in a table of its own until they are all there."""

    def __init__(self, sessions: Sessions, embeddings: Embeddings, settings: Settings) -> None:
        self._sessions = sessions
        self._embeddings = embeddings
        self._settings = settings
        self._model, self._dimensions = settings.embedding_model, settings.embedding_dimensions
        of = f"{self._model} {self._dimensions}"
        self._table = f"reembedded_{sha256(of.encode()).hexdigest()[:12]}"

    async def prepare(self) -> None:
        """Make the table, unless an earlier run has."""
        async with transaction(self._sessions) as session:
            await session.execute(
                text(
                    f"CREATE TABLE IF NOT EXISTS {self._table} ("
                    " chunk_id uuid PRIMARY KEY REFERENCES chunks (id) ON DELETE CASCADE,"
                    f" embedding halfvec({self._dimensions}) NOT NULL)"
                )
            )

    async def embed_the_rest(self) -> None:
        """Embed the chunks that are not in the table."""
        prefix = self._settings.passage_prefix()
        left = await self._left()
        done, after = 0, UUID(int=0)
        while batch := await self._missing(after):
            texts = [prefix + in_context(heading, content) for _, heading, content in batch]
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
            _say(f"{done:,} of {max(left, done):,} chunks")

    async def take_into_use(self) -> bool:
        """Put the new embeddings in place of the old ones, if they are all there. The search waits meanwhile."""
        async with transaction(self._sessions) as session:
            await session.execute(text("LOCK TABLE chunks IN SHARE ROW EXCLUSIVE MODE"))
            if await session.scalar(text(f"SELECT EXISTS ({self._without_embedding()})")):
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
            for index in EMBEDDING_INDEXES:  # which went with the column
                await connection.run_sync(index.create)
            made = upsert(SearchIndex).values(id=1, model=self._model, dimensions=self._dimensions)
            values = {"model": self._model, "dimensions": self._dimensions}
            await session.execute(made.on_conflict_do_update(index_elements=["id"], set_=values))
        return True

    async def _left(self) -> int:
        async with transaction(self._sessions) as session:
            return await session.scalar(text(f"SELECT count(*) FROM ({self._without_embedding()}) AS missing")) or 0  # noqa: S608  the name is a hash

    async def _missing(self, after: UUID) -> list[tuple[UUID, str | None, str]]:
        statement = text(f"{self._without_embedding()} AND id > :after ORDER BY id LIMIT :limit")
        async with transaction(self._sessions) as session:
            parameters = {"after": after, "limit": self._settings.embedding_batch_size}
            return [(row.id, row.heading, row.text) for row in await session.execute(statement, parameters)]

    def _without_embedding(self) -> str:
        return (
            f"SELECT id, heading, text FROM chunks WHERE NOT EXISTS"  # noqa: S608  the name is a hash
            f" (SELECT FROM {self._table} WHERE chunk_id = id)"
        )


def _say(what: str) -> None:
    print(what, flush=True)  # noqa: T201  a command talks to a terminal
