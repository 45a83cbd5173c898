"""From a file to chunks that can be found: the jobs that the worker runs.

Read the file in a child process, embed its chunks batch by batch, store each batch, publish. Whatever ends it in
between (a worker that is killed, an embedding model that is away), the next attempt goes on after the last batch
stored.
"""

import asyncio
import tempfile
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from uuid import UUID, uuid4

from langchain_core.embeddings import Embeddings
from loguru import logger
from procrastinate import JobContext
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project3_rag_docs.ingestion.chunking import in_context
from project3_rag_docs.ingestion.parsing import UnreadableDocument
from project3_rag_docs.ingestion.parsing.child import Limits, ParsedChunk, parse, read_chunks
from project3_rag_docs.ingestion.parsing.media_types import MediaType
from project3_rag_docs.models import Chunk, Document, DocumentPart, Status
from project3_rag_docs.search import index
from project3_rag_docs.search.index import EmbeddedChunk
from project3_rag_docs.settings import MIB, Settings
from shared.database.engine import Sessions, transaction
from shared.errors import ConfigurationError, DatabaseUnavailable, InputTooLongForModel, ModelTimeout, ModelUnavailable
from shared.jobs.notifications import notify
from shared.jobs.queue import TryAgain

CHANNEL = "documents"  # notified with a document's id whenever that is further
_LONGEST_WAIT = 30.0
_BATCHES_AT_ONCE = 2  # of one document, at the embedding model


class Superseded(Exception):
    """The document was deleted, or another worker has it: there is nothing left to do here."""


@dataclass(frozen=True)
class Ingestion:
    """What a worker needs for its jobs.

    Attributes:
        sessions: Of the database.
        embeddings: Of the model with which the index is made.
        settings: The stage's.
    """

    sessions: Sessions
    embeddings: Embeddings
    settings: Settings


async def ingest(context: JobContext, document_id: str) -> None:
    """Read, embed and publish a document."""
    ingestion: Ingestion = context.additional_context["ingestion"]
    run = _Run(ingestion, UUID(document_id))
    try:
        await run.to_the_end()
    except Superseded:
        logger.info("document {}: deleted, or taken over", document_id)
    except UnreadableDocument as error:
        await run.fail(str(error))
    except (ModelUnavailable, ModelTimeout, InputTooLongForModel) as error:
        await run.fail(f"It could not be embedded: {error.detail} Upload the file again to go on.")
    except (DatabaseUnavailable, ConfigurationError) as error:
        logger.warning("document {} has to wait: {}", document_id, error)
        raise TryAgain(_LONGEST_WAIT) from None
    except Exception as error:  # noqa: BLE001  whatever it was, the document must not stay `processing` for ever
        logger.opt(exception=error).error("document {}: unexpected {}", document_id, type(error).__name__)
        await run.fail("Something went wrong on our side while the document was read.")


async def purge(context: JobContext, document_id: str) -> None:
    """Remove the rows of a document that was deleted."""
    ingestion: Ingestion = context.additional_context["ingestion"]
    try:
        async with transaction(ingestion.sessions) as session:
            await index.remove(session, UUID(document_id))
    except DatabaseUnavailable:
        raise TryAgain(_LONGEST_WAIT) from None


TASKS = {"ingest": ingest, "purge": purge}


class _Run:
    """One attempt at one document."""

    def __init__(self, ingestion: Ingestion, document_id: UUID) -> None:
        self._sessions = ingestion.sessions
        self._embeddings = ingestion.embeddings
        self._settings = ingestion.settings
        self._id = document_id
        self._claim = uuid4()

    async def to_the_end(self) -> None:
        """Do all that is left to do.

        Raises:
            Superseded: if the document is not this attempt's any more.
            UnreadableDocument: if there is no text to be had from the file.
            ModelUnavailable, ModelTimeout, InputTooLongForModel: if the embedding model was away for too long.
            DatabaseUnavailable: if the database is away.
            ConfigurationError: if the index is another model's.
        """
        media_type = await self._take()
        with tempfile.TemporaryDirectory(prefix="ingestion-") as folder:
            file, chunks = Path(folder, "file"), Path(folder, "chunks.jsonl")
            await self._fetch(file)
            total = await parse(file, media_type, self._limits(), into=chunks)
            start = await self._resume(chunks, total)
            await self._embed_and_store(chunks, start)
        async with self._mine() as (session, document):
            await index.publish(session, document)
        logger.info("document {}: ready, {} chunks", self._id, total)

    async def fail(self, reason: str) -> None:
        """Say why the document cannot be had."""
        try:
            async with self._mine() as (_, document):
                document.status, document.error, document.claim = Status.FAILED, reason, None
        except Superseded:
            return
        except DatabaseUnavailable:
            raise TryAgain(_LONGEST_WAIT) from None
        logger.warning("document {}: failed: {}", self._id, reason)

    async def _take(self) -> MediaType:
        async with transaction(self._sessions) as session:
            await index.claim_index(session, self._settings)
            wanted = (col(Document.id) == self._id, col(Document.status) == Status.PROCESSING)
            media_type = await session.scalar(
                update(Document).where(*wanted).values(claim=self._claim).returning(col(Document.media_type))
            )
        if media_type is None:
            raise Superseded
        return MediaType(media_type)

    @asynccontextmanager
    async def _mine(self) -> AsyncIterator[tuple[AsyncSession, Document]]:
        """Give a transaction that writes to the document, as long as it is this attempt's."""
        async with transaction(self._sessions) as session:
            query = select(Document).where(
                col(Document.id) == self._id,
                col(Document.status) == Status.PROCESSING,
                col(Document.claim) == self._claim,
            )
            document = await session.scalar(query.with_for_update())
            if document is None:
                raise Superseded
            yield session, document
            await notify(session, CHANNEL, str(self._id))

    def _limits(self) -> Limits:
        settings = self._settings
        return Limits(
            seconds=settings.parse_timeout_seconds,
            memory_bytes=settings.parse_memory_mb * MIB,
            characters=settings.max_document_characters,
        )

    async def _fetch(self, file: Path) -> None:
        with file.open("wb") as copy:
            async for part in read_parts(self._sessions, self._id):
                await asyncio.to_thread(copy.write, part)

    async def _resume(self, chunks: Path, total: int) -> int:
        """Say how many chunks are stored already, after making sure that they are the same ones."""
        async with self._mine() as (session, document):
            stored = document.chunk_count
            document.chunk_total = total
            if stored:
                last = await session.scalar(
                    select(col(Chunk.text)).where(col(Chunk.document_id) == self._id, col(Chunk.index) == stored - 1)
                )
                parsed = next(read_chunks(chunks, stored - 1), None)
                if parsed is None or parsed.text != last:  # stored by a version that cut otherwise
                    await index.remove_chunks(session, document)
                    stored = document.chunk_count = 0
        return stored

    async def _embed_and_store(self, chunks: Path, start: int) -> None:
        """Embed, and store in order. The model is given the next batch before it has done the one that it is at."""
        batches = _batches(read_chunks(chunks, start), self._settings.embedding_batch_size)
        under_way: deque[asyncio.Task[list[EmbeddedChunk]]] = deque()
        try:
            while True:
                while len(under_way) < _BATCHES_AT_ONCE and (batch := await asyncio.to_thread(next, batches, None)):
                    under_way.append(asyncio.create_task(self._embedded(start, batch)))
                    start += len(batch)
                if not under_way:
                    return
                await self._store(await under_way.popleft())
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _store(self, chunks: Sequence[EmbeddedChunk]) -> None:
        async with self._mine() as (session, document):
            await index.hold_index(session, self._settings)
            await index.store_chunks(session, document, chunks)
            document.chunk_count += len(chunks)

    async def _embedded(self, start: int, batch: Sequence[ParsedChunk]) -> list[EmbeddedChunk]:
        vectors = await self._embed(batch)
        return [
            EmbeddedChunk(start + place, chunk, vector)
            for place, (chunk, vector) in enumerate(zip(batch, vectors, strict=True))
        ]

    async def _embed(self, batch: Sequence[ParsedChunk]) -> list[list[float]]:
        """Embed a batch; a model that is away is waited for."""
        prefix = self._settings.passage_prefix()
        texts = [prefix + in_context(chunk.heading, chunk.text) for chunk in batch]
        wait, waited = 1.0, 0.0
        while True:
            try:
                return await self._embeddings.aembed_documents(texts)
            except (ModelUnavailable, ModelTimeout) as error:
                if waited >= self._settings.ingestion_patience_seconds:
                    raise
                logger.warning("document {} waits for the embedding model: {}", self._id, error.detail)
            async with self._mine():  # a document that was deleted meanwhile waits for nothing
                pass
            await asyncio.sleep(wait)
            waited += wait
            wait = min(2 * wait, _LONGEST_WAIT)


def _batches(chunks: Iterator[ParsedChunk], size: int) -> Iterator[list[ParsedChunk]]:
    while batch := list(islice(chunks, size)):
        yield batch


async def read_parts(sessions: Sessions, document_id: UUID) -> AsyncIterator[bytes]:
    """Give a document's file piece by piece; no connection is held in between."""
    number = 0
    while True:
        async with transaction(sessions) as session:
            part = await session.scalar(
                select(col(DocumentPart.data)).where(
                    col(DocumentPart.document_id) == document_id, col(DocumentPart.index) == number
                )
            )
        if part is None:
            return
        yield part
        number += 1
